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
//	receipts.v1.<partition>.batch.of.<node>.<life> the same, from one of several nodes
//	receipts.v1.<partition>.<kind>.<org>.<app>     one event, from an outside producer
//	receipts.in.<org>.<app>.<conversation>.<kind>  where an outside producer publishes
//	receipts.submit.<org>.<app>                    where one asks receiptd to take events
//
// NATS itself maps those to receipts.in to those with a kind; see [IngressMapping]. The last is no
// subject of the log: receiptd answers there, and stores the events itself. Names and ids are
// escaped so that each is a single token: every byte other than an ASCII letter, a digit, '-' or
// '_' is written %XX. The conversation is g~<group>, or s~<a>~<b> for a single chat of a and b,
// with a < b.
const (
	logPrefix     = "receipts.v1."
	ingressPrefix = "receipts.in."
	submitPrefix  = "receipts.submit."
	batchToken    = "batch"
	nodeTokens    = ".of."
	lostToken     = "lost"

	groupToken  = "g~"
	singleToken = "s~"
)

// IngressSubjects is the wildcard that matches every subject on which outside producers publish.
const IngressSubjects = ingressPrefix + ">"

// SubmitSubjects is the wildcard that matches every [SubmitSubject].
const SubmitSubjects = submitPrefix + "*.*"

// MaxPartitions bounds the number of partitions of a log.
const MaxPartitions = 1 << 16

// ErrBadSubject is wrapped by the errors of the functions that parse or build subjects.
var ErrBadSubject = errors.New("events: bad subject")

// kindTokens are the names of the kinds in subjects, where '.' would begin another token. Internal
// kinds have none: they only come in batches.
var kindTokens = func() (tokens [kindEnd]string) {
	for k := range kindEnd {
		if k.namesConversation() {
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

// NodeBatchSubject is the subject of the batches of a partition that one process of a node appends,
// on which nobody else publishes. Both names are single tokens. It has one token more than what the
// server makes of whatever an outside producer chose, so that no producer can publish on it.
func NodeBatchSubject(partition int, node, life string) string {
	return BatchSubject(partition) + nodeTokens + node + "." + life
}

// LostSubject is the subject of what a repair puts in the place of an entry that is lost, so that
// those after it keep their sequences. Its data says in words what happened; it has no events.
func LostSubject(partition int) string { return partitionPrefix(partition) + lostToken }

// IsLostSubject reports whether a subject is a [LostSubject], of whatever partition.
func IsLostSubject(subject string) bool {
	rest, ok := strings.CutPrefix(subject, logPrefix)
	_, token, _ := strings.Cut(rest, ".")
	return ok && token == lostToken // not an app of that name, whose subject has more tokens
}

// PartitionSubjects is the wildcard that matches every subject of a partition, which is what its
// stream listens to.
func PartitionSubjects(partition int) string { return partitionPrefix(partition) + ">" }

func partitionPrefix(partition int) string { return logPrefix + strconv.Itoa(partition) + "." }

// entrySubject is a parsed subject of the log.
type entrySubject struct {
	partition int
	// kind and app belong to the only event of the entry; both are zero for a batch.
	kind Kind
	app  string
}

func (s entrySubject) batch() bool { return s.kind == KindUnknown }

// IsEntrySubject reports whether an entry of a partition can have a subject: that of a batch, that
// of what stands for a lost entry, or one that the server made of what an outside producer chose,
// which need not be of a kind there is.
func IsEntrySubject(subject string, partition int) bool {
	rest, ok := strings.CutPrefix(subject, partitionPrefix(partition))
	return ok && (rest == batchToken || rest == lostToken || strings.Contains(rest, ".")) && !strings.ContainsAny(rest, " \t\r\n{\x00")
}

// parseEntrySubject parses the subjects of entries above. It takes one spelling of each: the one
// that [BatchSubject], or the server by [IngressMapping], gives it. The error wraps
// [ErrBadSubject].
func parseEntrySubject(subject string) (entrySubject, error) {
	rest, ok := strings.CutPrefix(subject, logPrefix)
	if !ok {
		return entrySubject{}, subjectError(subject, "does not begin with "+logPrefix)
	}
	partition, rest, _ := strings.Cut(rest, ".")
	p, err := strconv.ParseUint(partition, 10, 31)
	if err != nil || p >= MaxPartitions || strconv.Itoa(int(p)) != partition {
		return entrySubject{}, subjectError(subject, "no partition number")
	}
	s := entrySubject{partition: int(p)}
	if rest == batchToken {
		return s, nil
	}
	if node, ok := strings.CutPrefix(rest, batchToken+nodeTokens); ok && strings.Count(node, ".") == 1 {
		return s, nil
	}
	kind, app, _ := strings.Cut(rest, ".")
	if s.kind, ok = kindsByToken[kind]; !ok {
		return entrySubject{}, subjectError(subject, "unknown kind")
	}
	app, problem := parseAppTokens(app)
	if problem != "" {
		return entrySubject{}, subjectError(subject, problem)
	}
	s.app = app
	return s, nil
}

// IngressSubject is the subject on which a producer that knows nothing of partitions publishes e.
// It follows from App, Kind and the conversation; nothing else of e is looked at. The error wraps
// [ErrBadSubject].
func IngressSubject(e *Event) (string, error) {
	if !e.Kind.namesConversation() {
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

// SubmitSubject is the subject of requests to take events of an app. The error wraps
// [ErrBadSubject].
func SubmitSubject(app string) (string, error) {
	b, err := appendAppTokens([]byte(submitPrefix), app)
	return string(b), err
}

// ParseSubmitSubject is the app of a [SubmitSubject]. It takes the one spelling that SubmitSubject
// gives it; the error wraps [ErrBadSubject].
func ParseSubmitSubject(subject string) (app string, err error) {
	tokens, ok := strings.CutPrefix(subject, submitPrefix)
	if !ok {
		return "", subjectError(subject, "does not begin with "+submitPrefix)
	}
	app, problem := parseAppTokens(tokens)
	if problem != "" {
		return "", subjectError(subject, problem)
	}
	return app, nil
}

// IngressSubjectsOf is the wildcard that matches the subjects of [IngressSubject] for one app. The
// error wraps [ErrBadSubject].
func IngressSubjectsOf(app string) (string, error) {
	b, err := appendAppTokens([]byte(ingressPrefix), app)
	if err != nil {
		return "", err
	}
	return string(append(b, ".>"...)), nil
}

// IngressApp is the app of a subject on which an outside producer publishes, whatever its kind and
// conversation. The error wraps [ErrBadSubject].
func IngressApp(subject string) (app string, err error) {
	tokens, ok := strings.CutPrefix(subject, ingressPrefix)
	if !ok {
		return "", subjectError(subject, "does not begin with "+ingressPrefix)
	}
	org, rest, _ := strings.Cut(tokens, ".")
	name, _, _ := strings.Cut(rest, ".")
	app, problem := parseAppTokens(org + "." + name)
	if problem != "" {
		return "", subjectError(subject, problem)
	}
	return app, nil
}

// IngressMapping is the subject mapping by which nats-server routes ingress subjects to the
// partitions of a log, as [Partition] does.
func IngressMapping(partitions int) (source, destination string) {
	return ingressPrefix + "*.*.*.*",
		fmt.Sprintf("%s{{partition(%d,1,2,3)}}.{{wildcard(4)}}.{{wildcard(1)}}.{{wildcard(2)}}", logPrefix, partitions)
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

func subjectError(subject, problem string) error {
	return fmt.Errorf("%w: %q: %s", ErrBadSubject, clip(subject), problem)
}
