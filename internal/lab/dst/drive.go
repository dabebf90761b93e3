package dst

import (
	"time"

	"github.com/receiptd/receiptd/events"
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
	case w.split.fork > 0 && w.split.deaths > 0:
		w.split.deaths--
		w.crashAt, w.end = w.report.Steps+1+w.random.IntN(w.split.within), endKill+ending(w.random.IntN(3))
	case w.random.IntN(3) > 0:
		w.crashAt, w.end = w.report.Steps+1+w.random.IntN(150), endKill+ending(w.random.IntN(3))
	}
}

// armDisk has an operation of the disk fail now and then.
func (w *world) armDisk() {
	if w.random.IntN(3) == 0 {
		f := diskFault{kind: diskKind(w.random.IntN(int(diskKinds))), after: w.random.IntN(30)}
		if f.kind == diskFull && w.split.fork > 0 {
			f.kind = diskWrite // a split waits for room under a lock, which would stop the clock
		}
		w.disk.arm(f)
	}
}

// steps does one thing after the other until the life ends.
func (w *world) steps(last bool) {
	n := 10 + w.random.IntN(30)
	if last || !w.armed() {
		n = len(w.script) // all that is left
	}
	if w.SplitAt > 0 && !last {
		n /= 4
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
		// From an hour to two years: as often up to a day as above a month.
		hours := 1 + w.random.IntN(1<<w.random.IntN(15))
		w.clock += (time.Duration(hours) * time.Hour).Milliseconds()
		w.fired(kindJump)
		w.tracef("clock jumps")
	default:
		w.clock -= int64(w.random.IntN(5000))
		w.fired(kindBack)
		w.tracef("clock set back")
	}
	w.broker.setClock(w.clock)
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
	w.script = w.script[1:]
	w.putIn(e)
}

// putIn stores an event past receiptd, where the broker maps it to.
func (w *world) putIn(e events.Event) {
	e.Time = 0 // it is no submit
	in, err := events.IngressSubject(&e)
	if err != nil {
		w.fail("subject of an event: %v", err)
	}
	w.tracef("outsider: %s", e.Kind)
	w.broker.inject(mapped(in, w.partitionOf(&e)), events.AppendJSON(nil, &e))
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
	w.sleep(duplicateWindow + 5*time.Second)
	w.broker.calm()
	w.sleep(5 * time.Second)
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
