package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

type app struct {
	settings      events.Settings
	revision      uint64
	conversations map[events.Conversation]*conversation
	parked        []parked // in the order of arrival
	summaries     map[string]*summary
	rejections    []projections.Rejection
	labels        []string
	alerts        []projections.Alert // of groups
	alertParts    []projections.Alert // of senders and labels
	partsDropped  bool
	userSettings  map[string]userSettings // of users, for all of their conversations
}

type conversation struct {
	name      events.Conversation
	created   events.Event // groups
	dissolved bool
	sent      int
	messages  []*message // the one with seq n is messages[n-1]
	byID      map[string]*message
	members   []*member // current and former, in the order of joining; both sides of a single chat
	imported  int64     // what the last imported event that was applied stated; 0 = there was none
}

type member struct {
	user         string
	role         events.Role // RoleNone for a former member
	spans        []span
	watermark    int
	lastReadAt   int64
	alone        []int // seqs above the watermark that were read alone
	marked       bool
	userSettings userSettings // for this conversation

	// What others may be shown of watermark and lastReadAt; stays: the watermark shown does not
	// follow.
	shownWatermark  int
	shownLastReadAt int64
	stays           bool
}

// span is one stay in a group: there for the messages with joined < seq, and seq <= left once
// ended.
type span struct {
	joined, left int
	ended        bool
}

type messageKind int

const (
	plain messageKind = iota
	tracked
	counted
	oversize
)

type message struct {
	id, from      string
	conversation  *conversation
	seq           int
	sentAt        int64
	asked         bool
	label         string
	kind          messageKind
	recalled      bool
	silent        bool
	hiddenReads   []string             // who has read it without anybody being told
	hiddenArrival bool                 // single chats: delivered, and nobody was told
	eligible      []string             // frozen when sent
	delivered     bool                 // single chats
	deliveredAt   int64                // of the applied message.delivered, 0 if there is none
	readers       []projections.Reader // in log order
}

// collects reports whether the message collects receipts.
func (msg *message) collects() bool { return msg.kind == tracked || msg.kind == counted }

type parked struct {
	event   events.Event
	at      position
	arrival int64
}

type position struct {
	sequence uint64
	index    int
}

// conversationOf names the conversation of an event; the users of a single chat are in order.
func conversationOf(ev events.Event) events.Conversation {
	if ev.Group != "" || ev.Peer == "" {
		return events.Conversation{App: ev.App, Group: ev.Group}
	}
	return events.Conversation{App: ev.App, A: min(ev.User, ev.Peer), B: max(ev.User, ev.Peer)}
}

func newConversation(name events.Conversation) *conversation {
	return &conversation{name: name, byID: map[string]*message{}}
}

// newSingleChat is a single chat before its first message. Its sides are members who never leave.
func newSingleChat(ev events.Event) *conversation {
	name := conversationOf(ev)
	side := func(user string) *member {
		return &member{user: user, role: events.RoleMember, spans: []span{{joined: 0}}}
	}
	c := newConversation(name)
	c.members = []*member{side(name.A), side(name.B)}
	return c
}

func (c *conversation) member(user string) *member {
	for _, u := range c.members {
		if u.user == user {
			return u
		}
	}
	return nil
}

func (u *member) current() bool { return u.role != events.RoleNone }

func (msg *message) readBy(user string) bool {
	return slices.ContainsFunc(msg.readers, func(r projections.Reader) bool { return r.User == user })
}
