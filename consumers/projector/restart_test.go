package projector

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/receiptd/receiptd/events"
)

// Wherever the fold is stopped, and however: it goes on from an older checkpoint, or the last, and
// ends with the same bytes as a fold that was never stopped.
func TestRestartsLeadToTheSameState(t *testing.T) {
	const partitions, stops = 2, 10
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	log := openLog(t, partitions)
	g := log.Traffic(smallTraffic(seed), 12_000)
	want := straight(t, log)

	disk := vfs.NewCrashableMem()
	dir := t.TempDir()
	back := make([]int, partitions) // how often a partition came back at an older position
	for stop := range stops {
		o := Options{
			Dir: dir, CacheBytes: 1 << (16 + random.IntN(8)), FS: disk,
			CheckpointEvery: time.Duration(1+random.IntN(10)) * time.Millisecond,
			FlushEvery:      time.Duration(1+random.IntN(30)) * time.Millisecond,
		}
		if stop == 0 || random.IntN(3) == 0 {
			o.FlushEvery = time.Hour // a crash goes far back
		}
		if stop == 0 {
			// The first crash goes back to the start of the log. A large checkpoint is durable at
			// once, whatever FlushEvery says, so there must be none.
			o.CheckpointEvery = time.Hour
		}
		r := start(t, log, o)
		for k := range partitions {
			from, last := r.workers[k].outcomes.last(), log.Last(k)
			if from < last {
				upto := from + 1 + random.Uint64N(min(last-from, 2*last/stops+1))
				if err := r.WaitFor(testContext(t), k, upto); err != nil {
					t.Fatalf("%v; Run: %v", err, r.failure())
				}
			}
		}
		reached := positions(r.Projector)
		switch kind := random.IntN(3); {
		case stop == 0 || kind == 1:
			r.crash()
		case kind == 0:
			r.stop()
		default: // the power fails while it runs
			after := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(3) * 50, RNG: random})
			r.crash()
			disk = after
		}
		p := open(t, log, Options{Dir: dir, FS: disk})
		for k, at := range positions(p) {
			if at < reached[k] {
				back[k]++
			}
		}
		p.discard()
	}
	r := start(t, log, Options{Dir: dir, FS: disk})
	r.caughtUp()
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("seed %d: digests %v, want %v", seed, got, want)
	}
	checkCounts(t, r.Projector, g)
	t.Logf("came back at an older position: %v of %d times", back, stops)
	if slices.Contains(back, 0) {
		t.Error("never at an older position")
	}
}

func positions(p *Projector) (list []uint64) {
	for _, w := range p.workers {
		seq, _ := w.gen.Part.Position()
		list = append(list, seq)
	}
	return list
}

// A broken disk ends the run with its error and takes nothing along that was acknowledged: once it
// is mended, the state is that of the log.
func TestFailedCheckpointLosesNothing(t *testing.T) {
	log := openLog(t, 2)
	log.Traffic(smallTraffic(7), 3000)
	disk := vfs.NewMem()
	var injected atomic.Int64
	broken := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst") {
			injected.Add(1)
			return errorfs.ErrInjected
		}
		return nil
	})}
	o := Options{
		Dir: t.TempDir(), CheckpointEvery: 5 * time.Millisecond, FlushEvery: 5 * time.Millisecond,
		FS: errorfs.Wrap(disk, broken),
	}
	r := start(t, log, o)
	r.caughtUp()
	broken.On()
	log.Traffic(smallTraffic(8), 3000)
	select {
	case <-r.done:
	case <-time.After(time.Minute):
		t.Fatal("Run goes on with a broken disk")
	}
	if !errors.Is(r.err, errorfs.ErrInjected) || injected.Load() == 0 {
		t.Errorf("Run returned %v after %d errors of the disk", r.err, injected.Load())
	}
	if _, err := r.Outcomes(testContext(t), 0, log.Last(0)+1); !errors.Is(err, ErrStopped) {
		t.Errorf("who waits for an outcome gets %v", err)
	}
	broken.Off() // mended, but the checkpoint that failed is lost: no later one may be written
	if err := r.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("Close returned %v", err)
	}

	o.FS = disk
	r = start(t, log, o)
	r.caughtUp()
	if got, want := r.digests(t), straight(t, log); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
}

// An entry that could be applied in part only must not be in any checkpoint.
func TestFailedReadOfTheStateLosesNothing(t *testing.T) {
	log := openLog(t, 1)
	log.Group(3)
	const messages = 2000
	for i := range messages {
		log.Put(100, burst(i, 1, 2)...)
	}
	disk := vfs.NewMem()
	broken := &errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") {
			return errorfs.ErrInjected
		}
		return nil
	})}
	o := Options{Dir: t.TempDir(), CacheBytes: 1, CheckpointEvery: time.Millisecond, FS: errorfs.Wrap(disk, broken)}
	r := start(t, log, o)
	r.caughtUp()
	r.stop()

	var late []events.Event
	for i := range messages {
		late = append(late, readBy(i, 2))
	}
	// What a start has read is cached, and not read again: on a slow machine that may be all of it,
	// and this one is folded to its end.
	for ended := false; !ended; {
		r = start(t, log, o)
		broken.On()
		log.Put(messages, late...)
		switch err := r.WaitFor(testContext(t), 0, log.Last(0)); {
		case errors.Is(err, ErrStopped):
			ended = true
		case err != nil:
			t.Fatal(err)
		default:
			broken.Off()
			r.stop()
		}
	}
	<-r.done
	if !errors.Is(r.err, errorfs.ErrInjected) {
		t.Errorf("Run returned %v", r.err)
	}
	broken.Off()
	if err := r.Close(); !errors.Is(err, errorfs.ErrInjected) {
		t.Errorf("Close returned %v", err)
	}

	r = start(t, log, o)
	r.caughtUp()
	for i := range messages {
		m, err := r.Message(app, message(i))
		if err != nil || m.Read != 3 {
			t.Fatalf("message %d: %+v, %v", i, m, err)
		}
	}
	if got, want := r.digests(t), straight(t, log); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
}
