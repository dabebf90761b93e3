package dst

import (
	"context"
	"fmt"
	mathrand "math/rand"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// Run is what one seed is run with.
type Run struct {
	Seed uint64
	// Script are the events that clients submit, in order.
	Script []events.Event
	// CrashAt, if not 0, has the first life die at that step, and all others go on without faults:
	// for going through all steps one by one.
	CrashAt int
	// SplitAt, if not 0, has the log repartitioned after the first life, by a tool that dies at
	// that of its steps, and by another one that does not.
	SplitAt int
	// SplitFate, if not fateOK, is what becomes of that of its requests, instead of its death.
	SplitFate fate
	// Calm leaves out all faults, but for CrashAt and SplitAt.
	Calm bool
	// Plant is a fault of the world that must be found; empty for none. See [Plants].
	Plant string
	// Trace is told each step as it happens; nil for nobody. [Report.Trace] has them all.
	Trace func(line string)
}

// Report is what came of a run.
type Report struct {
	// Trace is what happened, a line for each step.
	Trace []string
	// Kinds counts the faults that fired.
	Kinds map[string]int
	// Steps is how many changes reached the log or the disk, Durable how many of them were syncs or
	// entries, and Lives how often the process was started.
	Steps, Durable, Lives int
	// SplitSteps is how many steps the last tool took that repartitioned the log.
	SplitSteps int
	// Broken is the promise that was not kept; empty if all were.
	Broken string
}

// Plants are faults of the world that break a promise. Each must be found.
var Plants = []string{
	"acknowledge before the sync", "forget ids at once", "sync nothing", "trust a short log", "lose a push",
	"store a refused entry",
}

// Kinds lists the faults that there are, by the names under which [Report.Kinds] counts them.
func Kinds() []string {
	return slices.Concat(fateNames[1:], wayNames[1:], diskNames[:], endNames[1:], logDamageNames[1:], []string{
		kindSilent, kindAway, kindGarbage, kindBack, kindJump, kindForgot, kindAhead, kindFlipped, kindWitness, kindRepair, kindSplit, kindHalfway, kindFenced,
	})
}

// Kinds of faults beside those of the tables.
const (
	kindSilent  = "log: silent for longer than ids are remembered"
	kindAway    = "log: away"
	kindGarbage = "log: garbage of an outside producer"
	kindBack    = "clock: set back"
	kindJump    = "clock: jumps ahead"
	kindForgot  = "log: forgot what was not synced"
	kindAhead   = "log: shorter than the state"
	kindFlipped = "state: bit flipped"
	kindWitness = "witness: write cut off"
	kindRepair  = "log: repaired with losses"
	kindSplit   = "log: repartitioned"
	kindHalfway = "log: opened while it is repartitioned"
	kindFenced  = "log: publisher of before its repartition goes on"
)

// moment says what becomes of the process at a step.
type moment int

const (
	alive moment = iota
	diesBefore
	diesAfter
	dead
)

// ending is how a life ends.
type ending int

const (
	endStop  ending = iota // in good order
	endKill                // what was written stays
	endPower               // what was not synced is gone
	endTorn                // of what was not synced some is there
	endings
)

var endNames = [endings]string{"stop", "crash: killed", "crash: power lost", "crash: power lost, files torn"}

// world is one run.
type world struct {
	Run
	random *rand.Rand
	broker *broker
	mem    *vfs.MemFS // what the next life finds

	// interval says that the log is synced at intervals: a power loss takes what came after.
	interval bool
	synced   uint64 // entries of the log that were synced, where that is at intervals

	mu      sync.Mutex // over what follows
	report  Report
	crashAt int // the step at which the process dies; 0 = never
	before  bool
	end     ending // how it dies
	crashed bool
	image   image

	// The life.
	disk     *disk
	log      *eventlog.Log
	hub      *notify.Hub
	fold     *projector.Projector
	cancel   context.CancelFunc
	running  chan struct{}
	runErr   error
	sessions []*session

	// What outlives the process.
	clock    int64
	right    int64 // what the broker's clock was before it jumped; 0 = it did not
	script   []events.Event
	tagged   int64
	submits  []*submit
	model    *oracle.Model
	durable  uint64 // what Durable promised
	attested uint64 // the witness has it
	served   uint64 // the state was at that entry when it was ready
	flipped  bool   // a bit of the state is another one
	split    split
	final    bool // the life is the last one
}

// errBroken ends a run: a promise was not kept.
type errBroken string

// Play runs one seed. It must be called in a synctest bubble.
func Play(r Run) (report Report) {
	w := &world{
		Run: r, random: rand.New(rand.NewPCG(r.Seed, 0x5eed)), mem: vfs.NewCrashableMem(),
		clock: 1_700_000_000_000, script: r.Script, model: oracle.New(0),
	}
	w.report.Kinds = map[string]int{}
	// The product spreads its pauses with this source.
	//lint:ignore SA1019 it is the only way to have them repeat
	mathrand.Seed(int64(r.Seed))
	w.broker = &broker{
		store: func() moment { return w.step(true) }, died: w.died, fired: w.fired, plant: r.Plant,
		streams: map[string]*stream{},
	}
	w.split = newSplit(r.Seed)
	w.interval = !r.Calm && w.random.IntN(5) == 0
	defer func() {
		if e := recover(); e != nil {
			b, ok := e.(errBroken)
			if !ok {
				panic(e)
			}
			w.report.Broken = string(b)
			w.tracef("BROKEN %s", b)
			w.abandon()
		}
		report = w.report
	}()
	w.live()
	return w.report
}

// fail ends the run.
func (w *world) fail(format string, args ...any) { panic(errBroken(fmt.Sprintf(format, args...))) }

func (w *world) tracef(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	w.mu.Lock()
	w.report.Trace = append(w.report.Trace, line)
	w.mu.Unlock()
	if w.Trace != nil {
		w.Trace(line)
	}
}

func (w *world) fired(kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.report.Kinds[kind]++
}

// step counts a change of the log or the disk, and says what becomes of the process at it.
func (w *world) step(durable bool) moment {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashed {
		return dead
	}
	w.report.Steps++
	if durable {
		w.report.Durable++
	}
	if w.crashAt == 0 || w.report.Steps != w.crashAt {
		return alive
	}
	w.report.Kinds[endNames[w.end]]++
	if w.before {
		w.dieLocked()
		return diesBefore
	}
	return diesAfter
}

// died takes the image after the change at which the process dies.
func (w *world) died() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dieLocked()
}

// dieLocked is the end of the process: from now on nothing that it does reaches the log or the
// disk.
func (w *world) dieLocked() {
	if w.crashed {
		return
	}
	w.crashed = true
	w.broker.frozen.Store(true)
	w.image = w.disk.image(w.end)
}

// crash kills the process now.
func (w *world) crash(end ending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crashed {
		return
	}
	w.end = end
	w.report.Kinds[endNames[end]]++
	w.dieLocked()
}

func (w *world) isCrashed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.crashed
}

// settle waits until nobody computes any more, and takes in what came of it.
func (w *world) settle() {
	synctest.Wait()
	w.collect()
}

// sleep lets time pass.
func (w *world) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait() // what happens at this instant happens before it is over
	w.clock += d.Milliseconds()
	w.broker.setClock(w.clock)
	w.settle()
	if !w.isCrashed() {
		w.attested = uint64(len(w.broker.entriesOf(0))) // the witness is 50 ms behind
	}
}

// position is the entry that the state stands at; ok is false if its disk failed and it does not
// say.
func (w *world) position() (at uint64, ok bool) { return w.positionOf(0) }

func (w *world) positionOf(partition int) (at uint64, ok bool) {
	_, at, err := w.fold.SummaryAt(partition, "o#none", "nobody", "")
	if err != nil && !w.unreadable() {
		w.fail("the state does not answer: %v", err)
	}
	return at, err == nil
}
