package projections

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/receiptd/receiptd/events"
)

// Partition is the state of one partition: what its log entries, folded in order, come to. It is safe
// for concurrent use: one goroutine applies, any number ask.
//
// An error of Apply means that the backing failed or holds something we never wrote. The state in memory
// is then undefined: nothing more is applied or captured, and the partition has to be opened again from its
// checkpoint.
type Partition struct {
	mu     sync.Mutex
	id     int
	back   Backing
	failed error // of the Apply that left the state undefined

	// The position: the last entry applied, and the fold's clock, which never runs backward.
	seq         uint64
	fingerprint uint64
	clock       int64
	convs       uint64 // conversations numbered so far

	apps      map[string]*app
	appsByNum []*app
	poison    poison
	// configured has the *configuration in force by app key, outside of mu: every request of the edge asks for it.
	configured sync.Map

	// The cache. Budget and cacheBytes are rough, see the cost methods. held is cacheBytes after a sweep that
	// found too little to let go of, and a little more; 0 if there was none since the last commit.
	budget      int
	cacheBytes  int
	held        int
	messageRing ring[*message]
	convRing    ring[*conversation]
	authorRing  ring[*author]
	cellRing    ring[*cell]
	totalRing   ring[*cell] // of the cells that are totals

	// What changed since the last capture. epoch is the checkpoint under way, committed the last one
	// that is safe in the backing.
	epoch, committed uint64
	dirtyMessages    []*message
	dirtyConvs       []*conversation
	dirtyAuthors     []*author
	dirtyCells       []*cell
	flyingCells      []*cell // captured, not committed
	metaDirty        bool
	puts             writes
	spare            *Checkpoint // the last committed one, for its memory

	// What lookups by message id or user alone cannot find in the backing yet: made since the last capture,
	// and captured but not committed.
	fresh, flying freshIndex
	byNum         map[uint64]*conversation // the cached ones
	cells         map[cellKey]*cell        // the cached ones that are cohorts and totals of hours
	days          map[dayKey]*cell         // the cached ones that are totals of days
	limits        Limits

	// Scratch of the entry being applied.
	entry    entry
	keyBuf   []byte
	outcomes []events.Outcome
	counts   [256]uint64

	// What TakeCells returns next, if anybody takes, and with which cells the whole state was folded.
	trackCells   bool
	changedCells []*cell
	cellForm     uint64

	// online is asked who would be told; nil during a replay.
	online  func(app, user string) bool
	effects []Effect

	// What TakeFacts and TakeMessages return next, if anybody takes.
	keepFacts       bool
	facts           []Fact
	changedMessages []*message // the cache keeps them: each counts this as a reference to it
}

// entry is the log entry being applied: what its tables were resolved to. Only what exists is
// remembered: a group may come into being in the middle of an entry.
type entry struct {
	seq   uint64
	b     *events.Batch
	apps  []*app
	convs []*conversation
	msgs  []*message
	// extras is the next of the batch's extras, which lie in the order of their events.
	extras int
}

// Options of a partition.
type Options struct {
	// CacheBytes bounds the memory of cached state, roughly. What changed since the last checkpoint
	// stays in memory above it.
	CacheBytes int
	// Online reports whether a user would be told about his receipts; nil makes no effects, as a replay
	// must.
	Online func(app, user string) bool
	// TrackCells has TakeCells return what changes in the rollup, which has totals of days then, too.
	TrackCells bool
	// KeepFacts has TakeFacts return what events do to messages, and TakeMessages those messages.
	KeepFacts bool
	// Limits are for tests; zero values mean those of package events.
	Limits Limits
}

// Limits on what producers can make grow in one app of a partition, and Kept, which is how many items of a list stay in
// memory when they are in the backing.
type Limits struct {
	Members, Parked, Pending, Rejections int

	Kept int
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Members:    cmp.Or(l.Members, events.MaxGroupMembers),
		Parked:     cmp.Or(l.Parked, events.MaxParked),
		Pending:    cmp.Or(l.Pending, events.MaxPendingStatistic),
		Rejections: cmp.Or(l.Rejections, events.MaxRejections),
		Kept:       cmp.Or(l.Kept, tailKept),
	}
}

// Open loads the partition's small tables from its backing; everything else is loaded when it is needed.
func Open(id int, back Backing, o Options) (*Partition, error) {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	p := &Partition{
		id: id, back: back, budget: o.CacheBytes, online: o.Online,
		apps: map[string]*app{}, byNum: map[uint64]*conversation{}, cells: map[cellKey]*cell{},
		epoch: 1, limits: o.Limits.orDefaults(), trackCells: o.TrackCells, keepFacts: o.KeepFacts,
	}
	if p.trackCells {
		p.days, p.cellForm = map[dayKey]*cell{}, cellForm
	}
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	return p, nil
}

// key returns an empty buffer to build a key in; it is valid until the next key.
func (p *Partition) key() []byte {
	if p.keyBuf == nil {
		p.keyBuf = make([]byte, 0, 512)
	}
	return p.keyBuf[:0]
}

// Live has effects made from now on, for users of whom online is true; nil makes none. It is called when a
// replayed state becomes the live one.
func (p *Partition) Live(online func(app, user string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.online = online
}

// Position is the last entry applied: its sequence, 0 = none, and its fingerprint.
func (p *Partition) Position() (sequence, fingerprint uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq, p.fingerprint
}

// Decoded is a log entry as a fold takes it: its place in the log, and the events in it or why there are none.
type Decoded struct {
	// Sequence in the partition's stream. Entries come in the order of their sequences.
	Sequence uint64
	// At is the broker's timestamp in Unix milliseconds.
	At int64
	// Fingerprint tells the entry from another one that takes its sequence after the log lost its tail. A
	// checkpoint carries that of the last entry it has.
	Fingerprint uint64
	// Batch has the events. It is not looked at in a poison entry, and not kept.
	Batch *events.Batch
	// Poison says why the entry could not be decoded; empty if it could.
	Poison string
}

// Apply decides the events of one log entry, in order, and returns an outcome for each; the slice is
// valid until the next Apply. A poison entry is kept: it has no events, and the fold goes on after it.
func (p *Partition) Apply(x Decoded) ([]events.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(&x); err != nil {
		return nil, err
	}
	if x.Poison != "" {
		p.keepPoison(x.Sequence, x.At, x.Poison)
		p.settle()
		return nil, nil
	}
	b := x.Batch
	p.entry.reset(x.Sequence, b)
	p.outcomes = p.outcomes[:0]
	for i := range b.Kinds {
		o, err := p.decide(i)
		if err != nil {
			p.failed = fmt.Errorf("apply event %d of entry %d: %w", i, x.Sequence, err)
			return nil, p.failed
		}
		if o.Rejected() {
			p.reject(i, o)
		}
		p.counts[o]++
		p.outcomes = append(p.outcomes, o)
	}
	p.settle()
	return p.outcomes, nil
}

// begin moves position and clock, and lets go of the receipts that were parked for too long.
func (p *Partition) begin(x *Decoded) error {
	if p.failed != nil {
		return p.failed
	}
	if x.Sequence <= p.seq {
		return fmt.Errorf("entry %d after entry %d", x.Sequence, p.seq)
	}
	p.seq, p.fingerprint = x.Sequence, x.Fingerprint
	p.clock = max(p.clock, x.At)
	p.metaDirty = true
	p.expireParked()
	return nil
}

// settle ends an entry: the cache may let go of what the entry's events pointed to.
func (p *Partition) settle() {
	if p.cacheBytes <= max(p.budget, p.held) {
		return
	}
	want := p.cacheBytes - p.budget + p.budget/16
	freed := p.messageRing.sweep(p, p.committed, want)
	if freed < want {
		freed += p.authorRing.sweep(p, p.committed, want-freed)
	}
	if freed < want {
		freed += p.cellRing.sweep(p, p.committed, want-freed)
	}
	if freed < want {
		freed += p.totalRing.sweep(p, p.committed, want-freed)
	}
	if freed < want {
		freed += p.convRing.sweep(p, p.committed, want-freed)
	}
	p.cacheBytes -= freed
	if freed < want {
		// The rest waits for its commit: to look at all of it again after each entry and question would be slow.
		p.held = p.cacheBytes + p.budget/16
	}
}

func (e *entry) reset(seq uint64, b *events.Batch) {
	e.seq, e.b, e.extras = seq, b, 0
	e.apps = resized(e.apps, len(b.Conversations))
	e.convs = resized(e.convs, len(b.Conversations))
	e.msgs = resized(e.msgs, len(b.Messages))
}

func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/2)
	}
	s = s[:n]
	clear(s)
	return s
}

// decide is the switch over the kinds; the rules of each are in the file of its concern.
func (p *Partition) decide(i int) (events.Outcome, error) {
	e := &p.entry
	kind := e.b.Kinds[i]
	if kind == events.AppConfigured {
		return p.configure(i)
	}
	a := p.appOf(e.b.Conv[i])
	if a == nil {
		return events.RejectedNoApp, nil
	}
	switch kind {
	case events.MessageRead, events.MessageDelivered:
		return p.receipt(a, i)
	case events.MessageSent:
		return p.sent(a, i)
	case events.ConversationRead:
		return p.conversationRead(a, i)
	case events.MessageRecalled:
		return p.recalled(a, i)
	case events.GroupCreated:
		return p.groupCreated(a, i)
	case events.GroupJoined, events.GroupLeft, events.GroupRole, events.GroupDissolved:
		return p.groupChanged(a, i)
	case events.StatisticSeen:
		return p.statisticSeen(a, i)
	}
	return 0, fmt.Errorf("kind %d has no rule", kind)
}

// appOf resolves the app of a conversation of the entry; nil if it was never configured.
func (p *Partition) appOf(ref uint32) *app {
	e := &p.entry
	if a := e.apps[ref]; a != nil {
		return a
	}
	a := p.apps[e.b.Conversations[ref].App]
	e.apps[ref] = a
	return a
}

// convOf resolves a conversation of the entry; nil if there is none.
func (p *Partition) convOf(a *app, ref uint32) (*conversation, error) {
	e := &p.entry
	if c := e.convs[ref]; c != nil {
		return c, nil
	}
	c, err := p.conv(a, nameOf(&e.b.Conversations[ref]))
	e.convs[ref] = c
	return c, err
}

// messageOf resolves a message of the entry; nil if there is none.
func (p *Partition) messageOf(c *conversation, ref uint32) (*message, error) {
	e := &p.entry
	if m := e.msgs[ref]; m != nil {
		return m, nil
	}
	m, err := p.message(c, e.b.Messages[ref].ID)
	e.msgs[ref] = m
	return m, err
}

func (e *entry) user(i int) string {
	if u := e.b.User[i]; u != events.None {
		return e.b.Users[u]
	}
	return ""
}

func (e *entry) messageID(i int) string { return e.b.Messages[e.b.Msg[i]].ID }

func (e *entry) content(i int) string {
	if len(e.b.Content) == 0 || e.b.Content[i] == events.None {
		return ""
	}
	return e.b.Contents[e.b.Content[i]]
}

var noExtra events.Attributes

func (e *entry) extra(i int) *events.Attributes {
	for ; e.extras < len(e.b.Attributes); e.extras++ {
		x := &e.b.Attributes[e.extras]
		if x.Event == uint32(i) {
			return x
		}
		if x.Event > uint32(i) {
			break
		}
	}
	return &noExtra
}

func (p *Partition) encodeMeta(dst []byte) []byte {
	dst = appendInt(dst, p.clock)
	dst = binary.AppendUvarint(dst, p.convs)
	dst = binary.AppendUvarint(dst, p.seq)
	dst = binary.BigEndian.AppendUint64(dst, p.fingerprint)
	dst = binary.AppendUvarint(dst, p.poison.total)
	if p.trackCells {
		dst = binary.AppendUvarint(dst, p.cellForm)
	}
	return dst
}

func (p *Partition) decodeMeta(v []byte) error {
	if v == nil {
		return nil
	}
	r := reader{b: v}
	p.clock = r.varint()
	p.convs = r.uvarint()
	p.seq = r.uvarint()
	p.fingerprint = r.uint64()
	p.poison.total = r.uvarint()
	p.cellForm = 0
	if len(r.b) > 0 {
		p.cellForm = r.uvarint()
	}
	return r.err()
}
