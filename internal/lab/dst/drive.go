package dst

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// submit is a submit of a client and what it knows about it.
type submit struct {
	events []events.Event // with tags
	ticket *eventlog.Ticket
	err    error
	fate   submitFate
	at     []eventlog.Location
}

type submitFate int

const (
	underWay submitFate = iota
	acknowledged
	refused  // nothing of it may be in the log
	doubtful // it may be there, once
)

// armed reports whether faults may happen.
func (w *world) armed() bool { return !w.Calm && w.CrashAt == 0 }

// live is the series of lives.
func (w *world) live() {
	w.broker.setClock(w.clock)
	lives := 2 + w.random.IntN(3)
	for life := 0; ; life++ {
		last := life >= lives || life > 0 && !w.armed()
		w.final = last
		w.plan(life, last)
		if w.start() {
			w.steps(last)
		}
		if last && !w.isCrashed() && w.fold != nil {
			w.finish()
			return
		}
		w.over()
		if life > 20 {
			w.fail("twenty lives, and no end")
		}
	}
}

// plan decides whether and where the coming life dies.
func (w *world) plan(life int, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crashAt, w.end, w.before = 0, endStop, w.random.IntN(2) == 0
	switch {
	case w.CrashAt > 0 && life == 0:
		w.crashAt, w.end = w.CrashAt, endKill+ending(w.Seed%3)
	case last || !w.armed():
	case w.random.IntN(3) > 0:
		w.crashAt, w.end = w.report.Steps+1+w.random.IntN(150), endKill+ending(w.random.IntN(3))
	}
}

// armDisk has an operation of the disk fail now and then.
func (w *world) armDisk() {
	if w.random.IntN(3) == 0 {
		w.disk.arm(diskFault{kind: diskKind(w.random.IntN(int(diskKinds))), after: w.random.IntN(30)})
	}
}

// steps does one thing after the other until the life ends.
func (w *world) steps(last bool) {
	n := 10 + w.random.IntN(30)
	if last || !w.armed() {
		n = len(w.script) // all that is left
	}
	for range n {
		w.act()
		w.settle()
		if w.isCrashed() || w.gone() {
			return
		}
		if (last || !w.armed()) && len(w.script) == 0 {
			break
		}
	}
	if !last && w.armed() && w.random.IntN(2) == 0 {
		w.crash(endKill + ending(w.random.IntN(3)))
	}
}

// gone reports whether the projector ended by itself, which it may only for its disk.
func (w *world) gone() bool {
	select {
	case <-w.running:
	default:
		return false
	}
	if !w.unreadable() {
		w.fail("the fold ended: %v", w.runErr)
	}
	w.tracef("the fold ended: its disk failed")
	return true
}

// act does one thing.
func (w *world) act() {
	k := w.random.IntN(100)
	if !w.armed() {
		k = k * 60 / 100
	}
	switch {
	case k < 34:
		w.submitSome()
	case k < 38:
		w.sleep(60 * time.Millisecond)
	case k < 43:
		w.sleep(1100 * time.Millisecond)
		w.synced = uint64(len(w.broker.entriesOf(0)))
	case k < 46:
		w.ask()
	case k < 55:
		w.session()
	case k < 58:
		w.makeDurable()
	case k < 60:
		w.verify(w.random.IntN(3) == 0)
	case k < 74:
		f := fate(1 + w.random.IntN(int(fateCount)-1))
		w.tracef("arm %s", fateNames[f])
		w.broker.arm(f)
		w.submitSome()
	case k < 80:
		v := way(1 + w.random.IntN(int(wayCount)-1))
		w.tracef("steer %s", wayNames[v])
		w.broker.steer(v)
		w.submitSome()
	case k < 84:
		w.tracef("release %d", w.broker.release())
	case k < 88:
		w.outsider()
	case k < 91:
		w.silence()
	case k < 94:
		w.outage()
	case k < 96:
		w.setClock()
	default:
		w.sleep(6 * time.Second)
	}
}

// setClock has the broker's clock be wrong, or right again.
func (w *world) setClock() {
	switch {
	case w.right != 0:
		w.clock, w.right = w.right, 0
	case w.random.IntN(4) == 0:
		w.right = w.clock
		w.clock += (time.Duration(1+w.random.IntN(20_000)) * time.Hour).Milliseconds()
		w.fired(kindJump)
		w.tracef("clock jumps")
	default:
		w.clock -= int64(w.random.IntN(5000))
		w.fired(kindBack)
		w.tracef("clock set back")
	}
	w.broker.setClock(w.clock)
}

// submitSome submits the next events of the script, or again what failed.
func (w *world) submitSome() {
	if w.log == nil || len(w.script) == 0 {
		return
	}
	w.clock += int64(w.random.IntN(50))
	w.broker.setClock(w.clock)
	n := 1
	if w.random.IntN(3) == 0 {
		n += w.random.IntN(6)
	}
	internal := w.script[0].Kind.Internal()
	list := make([]events.Event, 0, n)
	for len(w.script) > 0 && len(list) < n && w.script[0].Kind.Internal() == internal {
		e := w.script[0]
		w.script = w.script[1:]
		w.tagged++
		e.Time = w.tagged
		list = append(list, e)
	}
	s := &submit{events: list}
	w.submits = append(w.submits, s)
	if internal {
		s.ticket, s.err = w.log.SubmitTo(context.Background(), 0, list)
	} else {
		s.ticket, s.err = w.log.Submit(context.Background(), list)
	}
	if s.err != nil {
		s.fate = refused
	}
	w.tracef("submit %d..%d: %v", list[0].Time, w.tagged, s.err)
}

// collect takes in the answers that came.
func (w *world) collect() {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range w.submits {
		if s.fate != underWay {
			continue
		}
		err := s.ticket.Wait(done)
		switch {
		case errors.Is(err, context.Canceled) && !errors.Is(err, eventlog.ErrUnavailable):
			continue
		case err == nil:
			s.fate = acknowledged
			s.at = slices.Collect(s.ticket.Locations())
		case errors.Is(err, eventlog.ErrUnknownOutcome):
			s.fate = doubtful
		case errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrClosed):
			s.fate = refused
		default:
			w.fail("submit %d: %v", s.events[0].Time, err)
		}
		w.tracef("answer to %d: %s", s.events[0].Time, s.describe())
		if s.fate != acknowledged && w.random.IntN(2) == 0 {
			// The client sends it again, later.
			w.script = append(slices.Clone(s.events), w.script...)
		}
	}
}

func (s *submit) describe() string {
	switch s.fate {
	case acknowledged:
		return fmt.Sprint("stored at ", s.at[0].Sequence)
	case refused:
		return "refused"
	}
	return "doubtful"
}

// outsider stores what a program at the broker puts into the log: an event of its own, or garbage.
func (w *world) outsider() {
	if w.random.IntN(2) == 0 || len(w.script) == 0 || w.script[0].Kind.Internal() {
		w.fired(kindGarbage)
		w.tracef("garbage")
		w.broker.inject(events.BatchSubject(0), []byte{0xff, byte(w.random.IntN(256)), 3})
		return
	}
	e := w.script[0]
	e.Time = 0 // it is no submit
	w.script = w.script[1:]
	in, err := events.IngressSubject(&e)
	if err != nil {
		w.fail("subject of an event: %v", err)
	}
	w.tracef("outsider: %s", e.Kind)
	w.broker.inject(mapped(in), events.AppendJSON(nil, &e))
}

// silence has the broker store one entry and say nothing for longer than it remembers ids.
func (w *world) silence() {
	if len(w.script) == 0 {
		return
	}
	w.broker.release()
	list := make([]fate, 16)
	for i := range list {
		list[i] = fateLostRequest
	}
	if w.random.IntN(2) == 0 {
		list[0] = fateLostAnswer
	}
	w.tracef("silence, after %s", fateNames[list[0]])
	w.broker.arm(list...)
	w.submitSome()
	w.settle()
	if w.random.IntN(2) == 0 {
		w.outsider()
	}
	w.sleep(90 * time.Second)
	w.broker.calm()
	w.sleep(10 * time.Second)
	w.fired(kindSilent)
}

// outage takes the broker away for a while.
func (w *world) outage() {
	w.fired(kindAway)
	w.tracef("outage")
	w.broker.restart()
	w.submitSome()
	w.sleep(time.Duration(1+w.random.IntN(20)) * time.Second)
	w.broker.up()
	w.sleep(3 * time.Second)
}

// makeDurable asks for a durable checkpoint, as retention does before entries leave the log.
func (w *world) makeDurable() {
	at, err := w.fold.Durable(0)
	if w.isCrashed() {
		return
	}
	w.tracef("durable %d: %v", at, err != nil)
	switch {
	case err == nil:
		w.durable = max(w.durable, at)
	case !w.unreadable():
		w.fail("no durable checkpoint: %v", err)
	}
}

// ready reports whether the state is said to have all that was acknowledged before the start.
func (w *world) ready() bool {
	err := w.fold.Ready()
	w.settle() // it may have waited for the broker
	return err == nil && !w.isCrashed()
}

// ask compares the answers with the model's.
func (w *world) ask() {
	if !w.ready() {
		return
	}
	at, ok := w.position()
	if !ok {
		return
	}
	w.tracef("ask at %d", at)
	if at < w.served {
		w.fail("answers are of entry %d, and were of entry %d", at, w.served)
	}
	w.served = at
	w.modelTo(at)
	w.compare()
}

// over is the end of a life: what the next one finds.
func (w *world) over() {
	stopped := !w.isCrashed()
	w.disk.heal()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	if stopped {
		w.broker.calm()
	} else {
		cancel()
	}
	err := w.stop(ctx)
	cancel()
	if !stopped {
		// It is dead: what it said at its end nobody heard.
		err = nil
	}
	w.collect()
	if stopped && !w.isCrashed() {
		if err != nil && !w.unreadable() {
			w.fail("the stop failed: %v", err)
		}
		w.tracef("stopped")
		if err == nil {
			w.synced = uint64(len(w.broker.entriesOf(0)))
		}
	}
	w.broker.die()
	synctest.Wait()
	w.sink()
}

// sink makes what is left of log and disk after a life.
func (w *world) sink() {
	entries := w.broker.entriesOf(0)
	if w.isCrashed() {
		w.tracef("%s", endNames[w.end])
		w.mem = w.image.after(w.end, w.random)
		if w.interval && w.end != endKill && len(entries) > 0 {
			w.loseUnsynced(entries)
		}
		if w.Plant == "acknowledge before the sync" && w.end != endKill && len(entries) > 0 {
			w.broker.replace(0, entries[:len(entries)-1])
			w.attested = min(w.attested, uint64(len(entries)-1))
		}
	}
	for _, s := range w.submits {
		if s.fate == underWay {
			s.fate = doubtful
		}
	}
	if w.armed() {
		w.damage()
	}
}

// loseUnsynced is a power loss where the log is synced at intervals.
func (w *world) loseUnsynced(entries []entry) {
	keep := int(w.synced) + w.random.IntN(len(entries)-int(w.synced)+1)
	if keep == len(entries) {
		return
	}
	w.fired(kindForgot)
	w.tracef("the log keeps %d of %d", keep, len(entries))
	for _, e := range entries[keep:] {
		w.forgive(e)
	}
	w.broker.replace(0, entries[:keep])
	w.rewound(uint64(keep))
}

// forgive takes the events of an entry for lost by name.
func (w *world) forgive(e entry) {
	for _, s := range w.submits {
		if s.fate == acknowledged && s.at[0].Sequence <= e.Sequence && s.at[len(s.at)-1].Sequence >= e.Sequence {
			s.fate = doubtful
		}
	}
}

// rewound takes in that the log ends earlier than it did.
func (w *world) rewound(last uint64) {
	w.served, w.attested, w.synced = min(w.served, last), min(w.attested, last), min(w.synced, last)
	w.durable = 0 // a state that stands beyond the log is folded again
	w.resetModel()
}

// session begins one for an author, or looks at one.
func (w *world) session() {
	if !w.ready() {
		return
	}
	if len(w.sessions) > 0 && w.random.IntN(2) == 0 {
		i := w.random.IntN(len(w.sessions))
		s := w.sessions[i]
		w.endSession(s)
		w.sessions = slices.Delete(w.sessions, i, i+1)
		return
	}
	at, ok := w.position()
	if !ok {
		return
	}
	w.modelTo(at)
	apps := w.model.Apps()
	if len(apps) == 0 || len(w.sessions) > 3 {
		return
	}
	app := apps[w.random.IntN(len(apps))]
	sent := w.model.AllMessages(app)
	if len(sent) == 0 {
		return
	}
	w.beginSession(app, sent[w.random.IntN(len(sent))].From)
}

// session is an author who is online.
type session struct {
	app, user string
	sub       *notify.Subscription
	began     map[told]int // counts at the beginning
	pushed    map[told]int // the latest that was pushed
	// unsettled: whose reads the author is shown may have changed meanwhile.
	unsettled bool
}

// follow notes what events change of whose reads the author is shown.
func (s *session) follow(evs []events.Event) {
	for _, e := range evs {
		if e.App == s.app && (e.Kind == events.AppConfigured || e.Kind == events.UserConfigured && e.User == s.user) {
			s.unsettled = true
		}
	}
}
