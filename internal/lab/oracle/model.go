package oracle

import (
	"fmt"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Limits are the bounds of the rules. Tests make them small so that short histories reach them.
type Limits struct {
	// MaxGroupMembers bounds the members of a group, MaxEverMembers the distinct ones it ever had.
	MaxGroupMembers, MaxEverMembers int
	// MaxParked bounds the parked receipts of an app.
	MaxParked int
	// MaxSummaryItems bounds the items of an author's summary.
	MaxSummaryItems int
	// MaxRejections bounds the rejections kept for an app.
	MaxRejections int
	// MaxReadsAhead bounds the messages read alone above a member's watermark.
	MaxReadsAhead int
	// MaxEventIDs bounds the events that a partition knows by their ids.
	MaxEventIDs int
	// MaxDevices bounds the known devices of an author.
	MaxDevices int
	// MaxLabels bounds the labels of an app that are counted.
	MaxLabels int
	// MaxAlerts bounds the alerts of groups that are kept for an app, MaxAlertParts the parts of
	// those of senders and labels.
	MaxAlerts, MaxAlertParts int
	// ParkedFor is how long a receipt waits for its message; longer is too long.
	ParkedFor time.Duration
}

// DefaultLimits are the limits of package events.
func DefaultLimits() Limits {
	return Limits{
		MaxGroupMembers: events.MaxGroupMembers,
		MaxEverMembers:  events.MaxEverMembers,
		MaxParked:       events.MaxParked,
		MaxSummaryItems: events.MaxSummaryItems,
		MaxRejections:   events.MaxRejections,
		MaxReadsAhead:   events.MaxReadsAhead,
		MaxEventIDs:     events.MaxEventIDs,
		MaxDevices:      events.MaxDevices,
		MaxLabels:       events.MaxLabels,
		MaxAlerts:       events.MaxAlerts,
		MaxAlertParts:   events.MaxAlertParts,
		ParkedFor:       events.ParkedFor,
	}
}

// Model is the state of one partition.
type Model struct {
	partition int
	limits    Limits
	levels    []func(*Limits) // what each level changes, from 2 on
	level     uint64
	of        uint64 // how many partitions there are by the last log.repartitioned; 0 = none was
	halved    bool   // by the entry being decided
	time      clock
	moment    int64  // of the event being decided: T, or what it states
	quiet     bool   // nothing of it is told
	sequence  uint64 // of the entry being decided, or of the last one
	apps      map[string]*app
	poisoned  []Poisoned
	known     []known // in the order of their decision
}

// known is an event that has an id, and what was decided about it.
type known struct {
	name    eventName
	at      int64
	outcome events.Outcome
}

// eventName is what names an event: its id, together with these.
type eventName struct {
	conversation      events.Conversation
	kind              events.Kind
	user, message, id string
}

// Poisoned is an entry that could not be decoded.
type Poisoned struct {
	Sequence uint64
	At       int64 // the entry's own time, Unix milliseconds
	Reason   string
}

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
	wishes        map[string]wish // of users, for all of their conversations
}

// wish is what a user has set.
type wish struct {
	reads, deliveries events.Choice
	revision          uint64
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
	user       string
	role       events.Role // RoleNone for a former member
	spans      []span
	watermark  int
	lastReadAt int64
	alone      []int // seqs above the watermark that were read alone
	marked     bool
	wish       wish // for this conversation

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

// item is an item of an author's summary: a message of theirs or, if there is none, a single chat
// that their peer has read.
type item struct {
	message   *message
	chat      *conversation
	number    int // the item was the author's number-th to be put at the end
	lastEntry uint64
}

// summary is that of an author.
type summary struct {
	items   []*item // in list order
	put     int     // how many items were put at the end
	author  witness
	devices []*witness // the known ones, those named longest ago first
}

// witness is who acknowledges: a device, or the author on whichever.
type witness struct {
	device      string
	seen        uint64
	dropped     int // how many items were pushed out and not acknowledged, the last by the entry
	lastDropped uint64
	named       int64 // when it was named last
}

type parked struct {
	event   events.Event
	at      position
	arrival int64
}

type position struct {
	sequence uint64
	index    int
}

// New is the model of a partition with the default limits.
func New(partition int) *Model { return NewWithLimits(partition, DefaultLimits()) }

// NewWithLimits is the model of a partition with other limits.
func NewWithLimits(partition int, limits Limits) *Model {
	return &Model{
		partition: partition, limits: limits, level: 1, apps: map[string]*app{}, levels: []func(*Limits){func(*Limits) {}},
	}
}

// SetLevels has the model know levels of the rules above 1, each of which changes the limits of the
// one before it. It is called before the first entry.
func (m *Model) SetLevels(levels []func(*Limits)) { m.levels = levels }

// Level is the level of the rules that decides the next event.
func (m *Model) Level() uint64 { return m.level }

// Apply decides the events of one log entry, whose broker time at is in Unix milliseconds, and
// returns the outcome of each. The model keeps strings of the events. Entries come once each and in
// order: a sequence that is not larger than the last one panics.
func (m *Model) Apply(sequence uint64, at int64, evs []events.Event) []events.Outcome {
	m.begin(sequence, at)
	outcomes := make([]events.Outcome, len(evs))
	for i, ev := range evs {
		outcomes[i] = m.decideOnce(ev, position{sequence, i})
	}
	if m.halved {
		m.halved = false
		m.halve()
	}
	return outcomes
}

// Poison records an entry that could not be decoded.
func (m *Model) Poison(sequence uint64, at int64, reason string) {
	m.begin(sequence, at)
	m.poisoned = append(m.poisoned, Poisoned{Sequence: sequence, At: at, Reason: reason})
}

// begin is what happens before the events of an entry are decided.
func (m *Model) begin(sequence uint64, at int64) {
	if sequence <= m.sequence {
		panic(fmt.Sprintf("oracle: entry %d after entry %d", sequence, m.sequence))
	}
	m.sequence = sequence
	before := m.time.t
	defer func() { m.judge(before) }()
	if m.time.tick(at) {
		for _, a := range m.apps {
			for i := range a.parked {
				a.parked[i].arrival = min(a.parked[i].arrival, m.time.t)
			}
		}
		for i := range m.known {
			m.known[i].at = min(m.known[i].at, m.time.t)
		}
	}
	for _, a := range m.apps {
		for len(a.parked) > 0 && m.time.t-a.parked[0].arrival > m.limits.ParkedFor.Milliseconds() {
			m.expireOldest(a)
		}
	}
}

// Event ids and repeats
func (m *Model) decideOnce(ev events.Event, at position) events.Outcome {
	if ev.EventID == "" || ev.Kind == events.AppConfigured || m.apps[ev.App] == nil {
		return m.decide(ev, at)
	}
	name := eventName{conversationOf(ev), ev.Kind, ev.User, ev.Message, ev.EventID}
	for _, k := range slices.Backward(m.known) {
		if k.name != name {
			continue
		}
		if m.time.t-k.at <= events.EventIDsFor.Milliseconds() {
			return k.outcome.Repeat()
		}
		break // the first of them, if there are several, is known for less
	}
	outcome := m.decide(ev, at)
	m.known = append(m.known, known{name, m.time.t, outcome})
	if len(m.known) > m.limits.MaxEventIDs {
		m.known = m.known[1:]
	}
	return outcome
}

func (m *Model) decide(ev events.Event, at position) events.Outcome {
	a := m.apps[ev.App]
	switch ev.Kind {
	case events.AppConfigured:
		return m.configured(ev)
	case events.RulesLevel:
		return m.rulesLevel(ev)
	case events.LogRepartitioned:
		return m.repartitioned(ev)
	}
	if a == nil {
		return events.RejectedNoApp // and nothing is recorded
	}
	outcome := m.decideFor(a, ev, at)
	if outcome.Rejected() {
		m.reject(a, ev, at, outcome)
	}
	return outcome
}

// rules.level
func (m *Model) rulesLevel(ev events.Event) events.Outcome {
	if ev.Revision <= m.level {
		return events.OutcomeDuplicate
	}
	for m.level < ev.Revision {
		m.level++
		m.levels[m.level-2](&m.limits)
	}
	return events.OutcomeApplied
}

// decideFor decides an event of an app, by T or by the time that it states.
func (m *Model) decideFor(a *app, ev events.Event, at position) events.Outcome {
	m.moment, m.quiet = m.time.t, ev.Imported
	if !ev.Imported {
		return m.byKind(a, ev, at)
	}
	// Imported events
	if ev.Time > m.time.t {
		return events.RejectedImportAhead
	}
	name := conversationOf(ev)
	if c := a.conversations[name]; c != nil && c.imported != 0 && ev.Time < c.imported && ev.Time < m.time.t {
		return events.RejectedImportBehind
	}
	m.moment = ev.Time
	outcome := m.byKind(a, ev, at)
	if outcome == events.OutcomeApplied || outcome == events.OutcomeHidden {
		a.conversations[name].imported = ev.Time
	}
	return outcome
}

func (m *Model) byKind(a *app, ev events.Event, at position) (outcome events.Outcome) {
	switch ev.Kind {
	case events.StatisticSeen:
		outcome = m.statisticSeen(a, ev)
	case events.GroupCreated:
		outcome = a.groupCreated(ev)
	case events.GroupJoined, events.GroupLeft, events.GroupRole, events.GroupDissolved:
		outcome = m.groupChanged(a, ev)
	case events.MessageSent:
		outcome = m.messageSent(a, ev)
	case events.MessageDelivered, events.MessageRead:
		outcome = m.receipt(a, ev, at)
	case events.ConversationRead:
		outcome = m.conversationRead(a, ev, at)
	case events.MessageRecalled:
		outcome = m.messageRecalled(a, ev, at)
	case events.UserConfigured:
		outcome = a.userConfigured(ev)
	case events.ConversationMarkedUnread:
		outcome = a.markedUnread(ev)
	default:
		panic(fmt.Sprintf("oracle: event of kind %v", ev.Kind))
	}
	return outcome
}

func (m *Model) reject(a *app, ev events.Event, at position, outcome events.Outcome) {
	a.rejections = append(a.rejections, projections.Rejection{
		Partition: m.partition, Sequence: at.sequence, Index: at.index, At: m.time.t, Outcome: outcome,
		Kind: ev.Kind, Group: ev.Group, Peer: ev.Peer, User: ev.User, Message: ev.Message,
	})
	if len(a.rejections) > m.limits.MaxRejections {
		a.rejections = a.rejections[1:]
	}
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
