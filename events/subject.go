package events

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The subjects of version 1.
//
//	receipts.v1.<partition>.batch                  a batch of events, from receiptd's own publisher
//	receipts.v1.<partition>.<kind>.<org>.<app>     one event, from a hand-made producer
//	receipts.in.<org>.<app>.<conversation>.<kind>  where a hand-made producer publishes
//
// NATS itself maps the third form to the second; see [IngressMapping]. Names and ids are escaped to
// be one token each: every byte but ASCII letters, digits, '-' and '_' is written %XX. The
// conversation is g~<group>, or s~<a>~<b> for a single chat of a and b, a < b.
const (
	logPrefix     = "receipts.v1."
	ingressPrefix = "receipts.in."
	batchToken    = "batch"

	groupToken  = "g~"
	singleToken = "s~"
)

// MaxPartitions bounds the partitions of a log.
const MaxPartitions = 1 << 16

// ErrBadSubject is wrapped by the errors of the functions that parse or build subjects.
var ErrBadSubject = errors.New("events: bad subject")

// kindTokens are the kinds' names on subjects, where '.' would begin another token. Internal kinds
// have none: they come in batches only.
var kindTokens = func() (tokens [kindEnd]string) {
	for k := range kindEnd {
		if k.OfConversation() {
			tokens[k] = strings.ReplaceAll(k.String(), ".", "-")
		}
	}
	return tokens
}()

var kindsByToken = func() map[string]Kind {
	m := make(map[string]Kind, kindEnd)
	for k, token := range kindTokens {
		if token != "" {
			m[token] = Kind(k)
		}
	}
	return m
}()

// BatchSubject is the subject of the batches of a partition.
func BatchSubject(partition int) string { return partitionPrefix(partition) + batchToken }

// PartitionSubjects is the wildcard that matches every subject of a partition: what its stream listens to.
func PartitionSubjects(partition int) string { return partitionPrefix(partition) + ">" }

func partitionPrefix(partition int) string { return logPrefix + strconv.Itoa(partition) + "." }

// EntrySubject is the subject in the log of one event that is not in a batch. app is a valid app
// key. Internal kinds have no such subject; the error wraps [ErrBadSubject].
func EntrySubject(partition int, kind Kind, app string) (string, error) {
	if !kind.OfConversation() {
		return "", fmt.Errorf("%w: %s events have no subject of their own", ErrBadSubject, kind)
	}
	b := append([]byte(partitionPrefix(partition)), kindTokens[kind]...)
	b, err := appendAppTokens(append(b, '.'), app)
	return string(b), err
}

// Subject is a parsed subject of the log.
type Subject struct {
	Partition int
	// Kind and App say what the one event of the entry is; both are zero for a batch.
	Kind Kind
	App  string
}

// Batch reports whether the subject is that of batches.
func (s Subject) Batch() bool { return s.Kind == KindUnknown }

// ParseEntrySubject parses what [BatchSubject] and [EntrySubject] build and nothing else: every
// subject has one spelling. The error wraps [ErrBadSubject].
func ParseEntrySubject(subject string) (Subject, error) {
	rest, ok := strings.CutPrefix(subject, logPrefix)
	if !ok {
		return Subject{}, subjectError(subject, "does not begin with "+logPrefix)
	}
	partition, rest, _ := strings.Cut(rest, ".")
	p, err := strconv.ParseUint(partition, 10, 31)
	if err != nil || p >= MaxPartitions || strconv.Itoa(int(p)) != partition {
		return Subject{}, subjectError(subject, "no partition number")
	}
	s := Subject{Partition: int(p)}
	if rest == batchToken {
		return s, nil
	}
	kind, app, _ := strings.Cut(rest, ".")
	if s.Kind, ok = kindsByToken[kind]; !ok {
		return Subject{}, subjectError(subject, "unknown kind")
	}
	app, problem := parseAppTokens(app)
	if problem != "" {
		return Subject{}, subjectError(subject, problem)
	}
	s.App = app
	return s, nil
}

// IngressSubject is where a producer that knows no partitions publishes e: App, Kind and the
// conversation decide, nothing else of e is looked at. The error wraps [ErrBadSubject].
func IngressSubject(e *Event) (string, error) {
	if !e.Kind.OfConversation() {
		return "", fmt.Errorf("%w: %s events have no conversation", ErrBadSubject, e.Kind)
	}
	b, err := appendAppTokens([]byte(ingressPrefix), e.App)
	if err != nil {
		return "", err
	}
	b, err = appendConversationToken(append(b, '.'), e)
	if err != nil {
		return "", err
	}
	return string(append(append(b, '.'), kindTokens[e.Kind]...)), nil
}

// ParseIngressSubject parses what [IngressSubject] builds and nothing else. The error wraps [ErrBadSubject].
func ParseIngressSubject(subject string) (Conversation, Kind, error) {
	rest, ok := strings.CutPrefix(subject, ingressPrefix)
	if !ok {
		return Conversation{}, 0, subjectError(subject, "does not begin with "+ingressPrefix)
	}
	tokens := strings.Split(rest, ".")
	if len(tokens) != 4 {
		return Conversation{}, 0, subjectError(subject, "not receipts.in.<org>.<app>.<conversation>.<kind>")
	}
	kind, ok := kindsByToken[tokens[3]]
	if !ok {
		return Conversation{}, 0, subjectError(subject, "unknown kind")
	}
	app, problem := parseAppTokens(tokens[0] + "." + tokens[1])
	if problem != "" {
		return Conversation{}, 0, subjectError(subject, problem)
	}
	c, err := ParseConversationToken(tokens[2])
	if err != nil {
		return Conversation{}, 0, err
	}
	c.App = app
	return c, kind, nil
}

// IngressMapping is the nats-server subject mapping that places ingress subjects into the
// partitions of a log, as [Partition] does.
func IngressMapping(partitions int) (source, destination string) {
	return ingressPrefix + "*.*.*.*",
		fmt.Sprintf("%s{{partition(%d,1,2,3)}}.{{wildcard(4)}}.{{wildcard(1)}}.{{wildcard(2)}}", logPrefix, partitions)
}

// ConversationToken is the subject token of the conversation of e. The error wraps [ErrBadSubject].
func ConversationToken(e *Event) (string, error) {
	b, err := appendConversationToken(nil, e)
	return string(b), err
}

func appendConversationToken(dst []byte, e *Event) ([]byte, error) {
	if e.Group != "" {
		return appendEscaped(append(dst, groupToken...), e.Group), nil
	}
	a, b := min(e.User, e.Peer), max(e.User, e.Peer)
	if a == "" || a == b {
		return nil, fmt.Errorf("%w: neither a group nor two users", ErrBadSubject)
	}
	dst = appendEscaped(append(dst, singleToken...), a)
	return appendEscaped(append(dst, '~'), b), nil
}

// ParseConversationToken parses what [ConversationToken] builds and nothing else; App stays empty.
// The error wraps [ErrBadSubject].
func ParseConversationToken(token string) (Conversation, error) {
	if id, ok := strings.CutPrefix(token, groupToken); ok {
		group, problem := parseIDToken(id)
		if problem != "" {
			return Conversation{}, subjectError(token, "group: "+problem)
		}
		return Conversation{Group: group}, nil
	}
	users, ok := strings.CutPrefix(token, singleToken)
	if !ok {
		return Conversation{}, subjectError(token, "a conversation begins with g~ or s~")
	}
	first, second, ok := strings.Cut(users, "~")
	if !ok {
		return Conversation{}, subjectError(token, "a single chat has two users")
	}
	a, problem := parseIDToken(first)
	if problem != "" {
		return Conversation{}, subjectError(token, "first user: "+problem)
	}
	b, problem := parseIDToken(second)
	if problem != "" {
		return Conversation{}, subjectError(token, "second user: "+problem)
	}
	if a >= b {
		return Conversation{}, subjectError(token, "the users are not in order")
	}
	return Conversation{A: a, B: b}, nil
}

func subjectError(subject, problem string) error {
	return fmt.Errorf("%w: %q: %s", ErrBadSubject, clip(subject), problem)
}
