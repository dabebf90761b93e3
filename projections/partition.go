package projections

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/receiptd/receiptd/events"
)

// Partition is the state of one partition: what the entries of its log, folded in order, amount to.
// It is safe for concurrent use: one goroutine applies, any number query.
//
// An error of Apply means that the backing failed or holds something this package never wrote. The
// state in memory is then undefined: nothing more is applied, captured or answered, the position is
// that before the entry, and the partition has to be opened again from its checkpoint.
type Partition struct {
	mu     sync.Mutex
	back   Backing
	opened Options
	failed error // of the Apply that left the state undefined

	position  position
	rules     ruleset
	share     share
	apps      apps
	poison    poison
	repeats   repeats
	tree      logTree
	outcomes  [256]uint64 // how often each was decided; repeats count as duplicates
	questions questions

	cache   cache
	changes changes
	taps    taps
	scratch scratch
}

// Rules numbers the rules of a program, which decide a log from its first entry on; what a program
// decides otherwise from some entry on is a [Level] instead. The number is raised whenever a
// version decides anything in a log that an earlier one could write otherwise than that did, or
// keeps more of it, or in another form. A state keeps the number of the version that began it, and
// is folded again by a version with a higher one; so is that of a sink, whose rows are those of the
// highest number. States of before there were numbers have 0, and rows of before they were numbered
// by the rules, up to 1, count as the lowest.
const Rules = 4

// OlderRules reports whether some of the state was folded by rules of before [Rules].
func (p *Partition) OlderRules() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules.number < Rules
}

// Options of a partition.
type Options struct {
	// CacheBytes bounds the memory of cached state, roughly. What changed since the last checkpoint
	// stays in memory beyond it.
	CacheBytes int
	// Online reports whether a user would be told about receipts for them. Nil makes no effects, as
	// a replay must.
	Online func(app, user string) bool
	// TrackCohorts makes TakeCohorts return what changes in the rollup, which then has the totals
	// of days, too.
	TrackCohorts bool
	// TrackFacts makes TakeFacts return what events do to messages, and TakeMessages those
	// messages.
	TrackFacts bool
	// Held, if set, is told how long each question held up the fold. It is called with the
	// partition locked.
	Held func(time.Duration)
	// Limits are for tests; zero values mean those of package events. So is Levels, for which nil
	// means those of this version.
	Limits Limits
	Levels []Level
}

// Limits bound what producers can make grow in one app of a partition.
type Limits struct {
	Members, EverMembers, Parked, SummaryItems, Rejections, ReadsAhead, Devices, Labels, Alerts, AlertParts int
	// EventIDs bounds the events that the partition knows by their ids, of all apps.
	EventIDs int

	// CachedItems is how many items of a list stay in memory although the backing has them.
	CachedItems int
	// ColdMembers and ColdBytes are how many members of a group, and how many bytes of a message, a
	// question loads while the fold waits.
	ColdMembers, ColdBytes int
}

func (l Limits) orDefaults() Limits {
	return Limits{
		Members:      cmp.Or(l.Members, events.MaxGroupMembers),
		EverMembers:  cmp.Or(l.EverMembers, events.MaxEverMembers),
		Parked:       cmp.Or(l.Parked, events.MaxParked),
		SummaryItems: cmp.Or(l.SummaryItems, events.MaxSummaryItems),
		Rejections:   cmp.Or(l.Rejections, events.MaxRejections),
		ReadsAhead:   cmp.Or(l.ReadsAhead, events.MaxReadsAhead),
		Devices:      cmp.Or(l.Devices, events.MaxDevices),
		Labels:       cmp.Or(l.Labels, events.MaxLabels),
		Alerts:       cmp.Or(l.Alerts, events.MaxAlerts),
		AlertParts:   cmp.Or(l.AlertParts, events.MaxAlertParts),
		EventIDs:     cmp.Or(l.EventIDs, events.MaxEventIDs),
		CachedItems:  cmp.Or(l.CachedItems, tailCached),
		ColdMembers:  cmp.Or(l.ColdMembers, coldMembers),
		ColdBytes:    cmp.Or(l.ColdBytes, coldBytes),
	}
}

// Open loads the partition's small tables from its backing. Everything else is loaded when it is
// needed.
func Open(id int, back Backing, o Options) (*Partition, error) {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	p := &Partition{
		back: back, opened: o,
		rules:     newRuleset(&o),
		share:     share{id: id},
		apps:      newApps(),
		questions: questions{held: o.Held},
		cache:     newCache(o.CacheBytes),
		changes:   changes{epoch: 1},
		taps:      newTaps(&o),
	}
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("open partition %d: %w", id, err)
	}
	return p, nil
}

// load reads the tables that are always in memory.
func (p *Partition) load() error {
	v, err := p.back.Get(append(p.scratch.key(), tableMeta))
	if err != nil {
		return err
	}
	if err := p.decodeMeta(v); err != nil {
		return err
	}
	if err := p.rules.change(1); err != nil {
		return err
	}
	if err := p.loadClock(); err != nil {
		return err
	}
	if err := p.loadTree(); err != nil {
		return err
	}
	if err := p.loadApps(); err != nil {
		return err
	}
	for _, a := range p.apps.byNum {
		if err := p.loadParked(a); err != nil {
			return err
		}
		if err := p.loadRejections(a); err != nil {
			return err
		}
		if err := p.loadAlerts(a); err != nil {
			return err
		}
		if err := p.loadConfigured(a); err != nil {
			return err
		}
	}
	if err := p.loadRepeats(); err != nil {
		return err
	}
	return p.loadPoison()
}

// Failed is the error of the Apply that left the state undefined; nil if there is none.
func (p *Partition) Failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// Apply decides the events of one log entry, in order, and returns the outcome of each. The slice
// is valid until the next Apply. A poison entry has no events: it is recorded, and the fold goes on
// after it.
func (p *Partition) Apply(x Decoded) ([]events.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return nil, p.failed
	}
	if p.share.splitDue {
		return nil, ErrSplitDue
	}
	before := p.position
	back, err := p.position.advance(&x)
	if err != nil {
		return nil, err
	}
	if back {
		p.clockBack()
	}
	p.changes.meta = true
	p.growTree(&x)
	p.expireParked()
	if p.apps.alerting {
		if err := p.decideAlerts(before.clock.now); err != nil {
			p.failed = fmt.Errorf("alerts at entry %d: %w", x.Sequence, err)
			p.position = before
			return nil, p.failed
		}
	}
	if x.Poison != "" {
		p.recordPoison(x.Sequence, x.At, x.Poison)
		p.evict()
		return nil, nil
	}
	p.scratch.reset(x.Batch)
	for i := range x.Batch.Kinds {
		var o events.Outcome
		var err error
		if ids := x.Batch.EventIDs; len(ids) > 0 && ids[i] != "" {
			o, err = p.decideOnce(i)
		} else {
			o, err = p.decide(i)
		}
		if err != nil {
			p.failed = fmt.Errorf("apply event %d of entry %d: %w", i, x.Sequence, err)
			p.position = before
			return nil, p.failed
		}
		switch {
		case o.Repeated():
			p.outcomes[events.OutcomeDuplicate]++
		case o.Rejected():
			p.reject(i, o)
			fallthrough
		default:
			p.outcomes[o]++
		}
		p.scratch.outcomes = append(p.scratch.outcomes, o)
	}
	p.evict()
	return p.scratch.outcomes, nil
}

// decide decides an event. The package comment says which file has the rule of each kind.
func (p *Partition) decide(i int) (events.Outcome, error) {
	e := &p.scratch
	switch e.batch.Kinds[i] {
	case events.AppConfigured:
		return p.appConfigured(i)
	case events.RulesLevel:
		return p.rulesLevel(i)
	case events.LogRepartitioned:
		return p.repartitioned(i), nil
	}
	a := p.appOf(e.batch.Conv[i])
	if a == nil {
		return events.RejectedNoApp, nil
	}
	if e.batch.Flags[i]&events.FlagImported != 0 {
		return p.decideImported(a, i)
	}
	return p.decideKind(a, i)
}

// decideKind decides an event of an app, of a kind that such events have.
func (p *Partition) decideKind(a *app, i int) (events.Outcome, error) {
	switch kind := p.scratch.batch.Kinds[i]; kind {
	case events.MessageRead, events.MessageDelivered:
		return p.receipt(a, i)
	case events.MessageSent:
		return p.messageSent(a, i)
	case events.ConversationRead:
		return p.conversationRead(a, i)
	case events.MessageRecalled:
		return p.messageRecalled(a, i)
	case events.GroupCreated:
		return p.groupCreated(a, i)
	case events.GroupJoined, events.GroupLeft, events.GroupRole, events.GroupDissolved:
		return p.groupChanged(a, i)
	case events.StatisticSeen:
		return p.statisticSeen(a, i)
	case events.UserConfigured:
		return p.userConfigured(a, i)
	case events.ConversationMarkedUnread:
		return p.markedUnread(a, i)
	default:
		return 0, fmt.Errorf("kind %d has no rule", kind)
	}
}

// evict ends an entry or a query: the cache may now drop what it pointed to.
func (p *Partition) evict() { p.cache.evict(p.changes.committed) }

// encodeMeta appends the counters that belong to no app.
func (p *Partition) encodeMeta(dst []byte) []byte {
	dst = appendInt(dst, p.position.clock.now)
	dst = binary.AppendUvarint(dst, p.apps.conversations)
	dst = binary.AppendUvarint(dst, p.position.seq)
	dst = binary.BigEndian.AppendUint64(dst, p.position.fingerprint)
	dst = binary.AppendUvarint(dst, p.poison.total)
	layout := uint64(0)
	if p.taps.trackCohorts {
		layout = p.taps.cohortLayout
	}
	dst = binary.AppendUvarint(dst, layout)
	return p.share.encode(p.rules.encode(dst))
}

func (p *Partition) decodeMeta(v []byte) error {
	if v == nil {
		p.rules.number, p.rules.level = Rules, 1
		return nil
	}
	r := reader{b: v}
	p.position.clock.now = r.varint()
	p.apps.conversations = r.uvarint()
	p.position.seq = r.uvarint()
	p.position.fingerprint = r.uint64()
	p.poison.total = r.uvarint()
	p.taps.cohortLayout = 0
	if len(r.b) > 0 {
		p.taps.cohortLayout = r.uvarint()
	}
	leveled := p.rules.decode(&r)
	p.share.decode(&r, leveled)
	return r.err()
}
