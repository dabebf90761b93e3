package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// A message is named by its conversation and its id. This file is for those who know the id alone:
// how an id finds its conversations, without a look at those of all other ids, and without holding
// up the fold for longer than a few lookups.

// Standing is a user's part in one message, by which access to it is decided.
type Standing uint8

// The standings.
const (
	// Stranger: the user has no part in the conversation now, and did not send the message.
	Stranger Standing = iota
	// LateMember: a member of the group now, who was not one when the message was sent.
	LateMember
	// Recipient: a member of the group now, who was one when the message was sent; in a single
	// chat, the peer.
	Recipient
	// Sender: who sent it.
	Sender
)

// Found is a message, and the standing of the user who asks for it.
type Found struct {
	Message
	Standing Standing
}

// AmbiguousError is the error for a message id that several conversations use.
type AmbiguousError struct {
	ID string
	// Conversations are those that have a message with the id, at most [MaxHolders] of them; More
	// is set if there are others.
	Conversations []events.Conversation
	More          bool
}

// NewAmbiguousError makes the error for an id of the conversations, one more than [MaxHolders] of
// them if there are others.
func NewAmbiguousError(id string, all []events.Conversation) *AmbiguousError {
	return &AmbiguousError{ID: id, Conversations: all[:min(MaxHolders, len(all))], More: len(all) > MaxHolders}
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("projections: several conversations have a message with the id %q", e.ID)
}

// MaxHolders bounds the conversations that an [AmbiguousError] lists.
const MaxHolders = 1000

const (
	// lookupStep is how many lookups a query makes before it lets the fold go on, and loadStep how
	// many conversations it loads, with their members.
	lookupStep = 64
	loadStep   = 8
	// commonID is the number of conversations from which on an id says little about where its
	// message is: then those of the user are gone through instead.
	commonID = 64
)

// Message returns the message with the id. The error is ErrNotFound if the app has none in this
// partition, and an [*AmbiguousError], which lists nothing, if it has several.
func (p *Partition) Message(appKey, id string) (Message, error) {
	found, err := only(p, appKey, []string{id}, (*message).view)
	if err != nil {
		return Message{}, err
	}
	m, ok := found[id]
	if !ok {
		return m, ErrNotFound
	}
	return m, nil
}

// Counts returns the numbers of the messages that exist. If several have one of the ids, it fails
// as Message does.
func (p *Partition) Counts(appKey string, ids []string) (map[string]Counts, error) {
	counts, err := only(p, appKey, ids, (*message).counts)
	if counts == nil {
		counts = map[string]Counts{}
	}
	return counts, err
}

// only returns what is asked of those of the messages that exist, by their ids.
func only[T any](p *Partition, appKey string, ids []string, ask func(*message) T) (map[string]T, error) {
	a := p.app(appKey)
	if a == nil {
		return nil, nil
	}
	out := make(map[string]T, len(ids))
	for some := range slices.Chunk(ids, lookupStep) {
		nums, err := p.holders(a, some, 2)
		if err != nil {
			return nil, err
		}
		i := 0
		err = steps(p, loadStep, some, func(id string) error {
			held := nums[i]
			if len(held) > 1 {
				return &AmbiguousError{ID: id}
			}
			if len(held) == 1 {
				m, err := p.messageIn(held[0], id)
				if err != nil {
					return err
				}
				out[id] = ask(m)
			}
			i++
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// MessageIn returns the message of a conversation, and what the user is to it; an empty user is a
// stranger. The error is ErrNotFound if the conversation has no such message.
func (p *Partition) MessageIn(c events.Conversation, id, user string) (Found, error) {
	return query(p, func() (Found, error) {
		m, err := p.named(&c, id)
		if err != nil {
			return Found{}, err
		}
		return Found{m.view(), m.standing(user)}, nil
	})
}

// named returns the message of a conversation.
func (p *Partition) named(c *events.Conversation, id string) (*message, error) {
	a := p.apps.byKey[c.App]
	if a == nil {
		return nil, ErrNotFound
	}
	conv, err := p.conv(a, nameOf(c))
	if err != nil {
		return nil, err
	}
	if conv == nil {
		return nil, ErrNotFound
	}
	m, err := p.message(conv, id)
	if err == nil && m == nil {
		err = ErrNotFound
	}
	return m, err
}

// standing is what a user is to the message. Nobody is a member of a dissolved group.
func (m *message) standing(user string) Standing {
	c := m.conv
	o, known := c.ordinal(user)
	switch {
	case !known:
		return Stranger
	case o == m.sender:
		return Sender
	case c.dissolved || !c.members[o].active():
		return Stranger
	case c.group() && !c.members[o].wasThere(m.seq):
		return LateMember
	}
	return Recipient
}

// Holders returns conversations that have a message with the id, at most limit of them, in no
// order. With a user they are among those that the user is or was in.
func (p *Partition) Holders(appKey, id, user string, limit int) ([]events.Conversation, error) {
	a := p.app(appKey)
	if a == nil {
		return nil, nil
	}
	most := limit
	if user != "" {
		most = commonID + 1
	}
	held, err := p.holders(a, []string{id}, most)
	if err != nil {
		return nil, err
	}
	nums := held[0]
	has := func(uint64) (bool, error) { return true, nil }
	switch {
	case user == "":
	case len(nums) <= commonID:
		has = func(num uint64) (bool, error) { return p.hasUser(a, num, user) }
	default:
		of, err := p.conversationsOf(a, user)
		if err != nil {
			return nil, err
		}
		nums = nums[:0]
		for _, x := range of {
			nums = append(nums, x.conv)
		}
		has = func(num uint64) (bool, error) { return p.hasMessage(a, num, id) }
	}
	var out []events.Conversation
	err = steps(p, lookupStep, nums, func(num uint64) error {
		if len(out) == limit {
			return nil
		}
		ok, err := has(num)
		if err != nil || !ok {
			return err
		}
		n, err := p.convNameOf(num)
		out = append(out, events.Conversation{App: appKey, Group: n.group, A: n.a, B: n.b})
		return err
	})
	return out, err
}

// holders returns for each id the numbers of conversations that have a message with it, at most
// limit of them. It is called without the lock.
func (p *Partition) holders(a *app, ids []string, limit int) ([][]uint64, error) {
	// What is not in the backing comes first: whatever is committed from here on is found in the
	// backing as well, and counts once.
	nums := make([][]uint64, len(ids))
	p.lockIndexed()
	for i, id := range ids {
		r, x := messageRef{a.num, id}, &p.changes.indexes
		nums[i] = append(append(nums[i], x.added.messages.byID[r]...), x.captured.messages.byID[r]...)
	}
	p.mu.Unlock()
	prefix := make([]byte, 0, 256) // with room for the end of the range
	for i, id := range ids {
		prefix = messagePrefix(prefix[:0], a.num, id)
		stored := 0
		err := p.eachIndexed(prefix, func(num uint64, _ []byte) error {
			nums[i] = append(nums[i], num)
			if stored++; stored == limit {
				return errStep
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		slices.Sort(nums[i])
		nums[i] = slices.Compact(nums[i])
		nums[i] = nums[i][:min(limit, len(nums[i]))]
	}
	return nums, nil
}

// lockIndexed takes the lock once the map of message ids has all of them. On the way the fold goes
// on after each step.
func (p *Partition) lockIndexed() {
	const step = 1000
	for {
		p.mu.Lock()
		if p.changes.indexes.captured.messages.mapNoted(step) && p.changes.indexes.added.messages.mapNoted(step) {
			return
		}
		p.mu.Unlock()
	}
}

// eachIndexed calls f with the number at the end of each stored key that begins with a prefix, and
// its value, until f fails with errStep. The prefix ends with a zero byte; what follows it in its
// array is written to.
func (p *Partition) eachIndexed(prefix []byte, f func(num uint64, value []byte) error) error {
	both := append(prefix, prefix...)
	prefix, end := both[:len(prefix)], both[len(prefix):]
	end[len(end)-1]++
	err := p.back.Range(prefix, end, func(key, value []byte) error {
		num, n := binary.Uvarint(key[len(prefix):])
		if n <= 0 {
			return errCorrupt
		}
		return f(num, value)
	})
	if errors.Is(err, errStep) {
		return nil
	}
	return err
}

// hasUser reports whether a user is or was in a conversation.
func (p *Partition) hasUser(a *app, num uint64, user string) (bool, error) {
	if c := p.cache.conversationByNum[num]; c != nil {
		_, is := c.ordinal(user)
		return is, nil
	}
	v, err := p.back.Get(userIndexKey(p.scratch.key(), a.num, user, num))
	return v != nil, err
}

// hasMessage reports whether a conversation has a message with the id.
func (p *Partition) hasMessage(a *app, num uint64, id string) (bool, error) {
	if c := p.cache.conversationByNum[num]; c != nil && c.messages[id] != nil {
		return true, nil
	}
	v, err := p.back.Get(messageKey(p.scratch.key(), a.num, id, num))
	return v != nil, err
}

// convNameOf returns the name of the conversation with the number, without loading its members.
func (p *Partition) convNameOf(num uint64) (convName, error) {
	if c := p.cache.conversationByNum[num]; c != nil {
		return c.name, nil
	}
	v, err := p.back.Get(convKey(p.scratch.key(), num))
	if err != nil {
		return convName{}, err
	}
	var c conversation
	_, _, err = c.decodeHeader(v)
	return c.name, err
}

// app returns an app by its key, nil if it was never configured. It is called without the lock.
func (p *Partition) app(key string) *app {
	a, _ := query(p, func() (*app, error) { return p.apps.byKey[key], nil })
	return a
}
