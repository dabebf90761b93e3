package projector

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/internal/fold"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections/store"
)

// tailCutter is an embedded log that can come back as it was, as after a power loss without fsync.
type tailCutter struct {
	*testLog
	dir, copied string
}

func openCutter(t *testing.T) *tailCutter {
	c := &tailCutter{testLog: &testLog{T: t}, dir: filepath.Join(t.TempDir(), "log")}
	c.reopen()
	return c
}

func (c *tailCutter) reopen() {
	c.Log = natstest.OpenLog(c.T, eventlog.Config{Dir: c.dir, Partitions: 2, Fsync: eventlog.FsyncInterval})
}

// keep remembers the log as it is.
func (c *tailCutter) keep() {
	c.T.Helper()
	natstest.CloseLog(c.T, c.Log)
	c.copied = filepath.Join(c.T.TempDir(), "copied")
	if err := os.CopyFS(c.copied, os.DirFS(c.dir)); err != nil {
		c.T.Fatal(err)
	}
	c.reopen()
}

// cut takes away what was appended since keep.
func (c *tailCutter) cut() {
	c.T.Helper()
	natstest.CloseLog(c.T, c.Log)
	// Its witness is gone with it: otherwise the log itself would be refused.
	if err := errors.Join(os.RemoveAll(c.dir), os.RemoveAll(c.dir+".witness"), os.Rename(c.copied, c.dir)); err != nil {
		c.T.Fatal(err)
	}
	c.reopen()
}

// A log that lost its tail is noticed, whether it is still shorter than the state or has grown past
// it with other entries: the state is folded again from what there is, never continued.
func TestStateAheadOfItsLogIsFoldedAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		more int // messages appended after the tail was cut
	}{{"shorter", 0}, {"another entry", 40}} {
		t.Run(c.name, func(t *testing.T) {
			log := openCutter(t)
			log.Group(3)
			log.Put(5, burst(0, 10, 3)...)
			log.keep()
			o := Options{Dir: t.TempDir(), Audience: &audience{}, StartOver: true}
			log.Put(5, burst(10, 20, 2)...)
			r := start(t, log, o)
			r.caughtUp()
			r.stop()
			log.cut()
			if c.more > 0 {
				log.Put(4, burst(100, c.more, 1)...)
			}
			want := straight(t, log)

			heard := &audience{}
			o.Audience = heard
			r = start(t, log, o)
			r.caughtUp()
			if got := r.digests(t); !slices.Equal(got, want) {
				t.Errorf("digests %v, want %v", got, want)
			}
			for i, readers := range map[int]int{0: 3, 9: 3} {
				if m, err := r.Message(app, message(i)); err != nil || m.Read != readers {
					t.Errorf("message %d: %+v, %v", i, m, err)
				}
			}
			if m, err := r.Message(app, message(10)); err == nil {
				t.Errorf("a message of the lost tail is there: %+v", m)
			}
			if list := heard.take(); len(list) > 0 {
				t.Errorf("%d effects of what happened long ago, %+v", len(list), list[0])
			}
			log.Put(1, readBy(0, 0), sent(500), readBy(500, 1))
			r.caughtUp()
			if list := heard.take(); len(list) != 1 || list[0].Message != message(500) {
				t.Errorf("effects of what happens now: %+v", list)
			}
			for _, w := range r.workers {
				if n := must[[]int](t)(fold.Generations(nil, w.root)); len(n) != 1 {
					t.Errorf("generations %v are left", n)
				}
			}
			r.stop()
			p := open(t, log, o) // and that is what the next start finds
			if got := p.digests(t); slices.Equal(got, want) || p.workers[0].replaying {
				t.Errorf("opened again at %v", positions(p))
			}
			p.discard()
		})
	}
}

// A state whose files are corrupt is put aside, folded again, and removed when the new one is
// complete. It is found at the start, or while it is used and then at the next start.
func TestCorruptStateIsFoldedAgain(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	o := Options{Dir: t.TempDir(), CacheBytes: 1}
	r := start(t, log, o)
	r.caughtUp()
	for k := range r.workers {
		if _, err := r.Durable(k); err != nil {
			t.Fatal(err)
		}
	}
	want := r.digests(t)
	r.stop()
	tables := must[[]string](t)(filepath.Glob(filepath.Join(o.Dir, "p*", "0*", "*.sst")))
	if len(tables) < 2 {
		t.Fatalf("tables: %v", tables)
	}
	for _, table := range tables {
		b := must[[]byte](t)(os.ReadFile(table))
		b[len(b)/3] ^= 1
		if err := os.WriteFile(table, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Whatever is asked, it is answered or refused; the process lives.
	for range 4 {
		p, err := New(testContext(t), log, o)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatal(err)
			}
			continue
		}
		for i := range 40 {
			_, _ = p.Message(app, message(i))
		}
		p.discard()
	}
	r = start(t, log, o)
	r.caughtUp()
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
	eventually(t, "what was put aside is removed", func() bool {
		return len(must[[]string](t)(filepath.Glob(filepath.Join(o.Dir, "p*", "aside-*")))) == 0
	})
}

// A state is kept when the log can neither continue it nor replace it.
func TestStateThatTheLogCannotReplaceIsKept(t *testing.T) {
	log, other := openLog(t, 1), openLog(t, 1)
	log.Group(3)
	log.Put(3, burst(0, 30, 3)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	want := r.digests(t)
	at := positions(r.Projector)
	r.stop()

	other.Group(2)
	other.Put(3, burst(0, 10, 2)...) // shorter than the state
	other.Purge(0, 4)
	open := func() error {
		p, err := New(testContext(t), other, Options{Dir: o.Dir, StartOver: true, Logger: natstest.Logger(t)})
		if err == nil {
			t.Errorf("opened at %v", positions(p))
			p.discard()
		}
		return err
	}
	if err := open(); !errors.Is(err, fold.ErrCutOff) || !strings.Contains(err.Error(), "log from 4 to") {
		t.Errorf("a shorter log: %v", err)
	}
	other.Put(1, burst(100, 20, 3)...)
	if err := open(); !errors.Is(err, fold.ErrCutOff) || other.Last(0) < at[0] {
		t.Errorf("a log with another entry: %v", err)
	}

	r = start(t, log, o)
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %v, want %v", got, want)
	}
}

// A log that no longer has the entry after the state's position is an error that says so; one that
// still has it goes on, whatever left before.
func TestTrimmedLogIsAnErrorUnlessTheStateIsPastIt(t *testing.T) {
	log := openLog(t, 1)
	log.Group(3)
	log.Put(3, burst(0, 30, 3)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	r.stop()
	at := log.Last(0)
	log.Put(3, burst(30, 10, 3)...)
	log.Purge(0, at+1)

	r = start(t, log, o)
	r.caughtUp()
	if m, err := r.Message(app, message(39)); err != nil || m.Read != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{Switch: true}); !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("a rebuild of what is not there any more: %v", err)
	}
	onlyGeneration(t, r.Projector, 1)
	digests := r.digests(t)
	r.stop()

	log.Put(3, burst(40, 10, 3)...)
	log.Purge(0, log.Last(0)-1)
	for name, dir := range map[string]string{"behind": o.Dir, "new": t.TempDir()} {
		r = start(t, log, Options{Dir: dir})
		select {
		case <-r.done:
		case <-time.After(time.Minute):
			t.Fatalf("%s: Run waits for entries that left the log", name)
		}
		if !errors.Is(r.err, eventlog.ErrTrimmed) || r.Ready() == nil {
			t.Errorf("%s: Run returned %v, ready: %v", name, r.err, r.Ready())
		}
		if name == "behind" && !slices.Equal(r.digests(t), digests) {
			t.Error("the state changed")
		}
	}
}

// onlyGeneration checks that every partition has one generation, and that it is current.
func onlyGeneration(t *testing.T, p *Projector, of ...int) {
	t.Helper()
	for _, w := range p.workers {
		name := strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(w.root, fold.CurrentFile)))))
		there := must[[]int](t)(fold.Generations(nil, w.root))
		if len(there) != 1 || !slices.Contains(of, there[0]) || name != fmt.Sprintf("%06d", there[0]) {
			t.Errorf("partition %d: generations %v, current is %s; want one of %v alone", w.partition, there, name, of)
		}
		if filepath.Base(w.gen.Dir()) != name {
			t.Errorf("partition %d: in use is %s, current is %s", w.partition, w.gen.Dir(), name)
		}
	}
}

// What cannot be decoded is counted, has no outcomes and does not stop the rest; what a newer
// version wrote does.
func TestPoisonDoesNotStopTheRest(t *testing.T) {
	log := openLog(t, 2)
	log.Group(3)
	log.Put(10, burst(0, 5, 3)...)
	var bad []uint64
	const subject = "receipts.v1.0.message-read.acme.chat"
	elsewhere := "g" // a group of the other partition
	for n := 0; events.Partition(&events.Event{App: app, Group: elsewhere}, 2) == 0; n++ {
		elsewhere = fmt.Sprint("g", n)
	}
	for _, x := range []struct{ subject, data string }{
		{events.BatchSubject(0), "not a batch"},
		{events.BatchSubject(0), ""},
		{subject, `{"type":"message.read"}`},
		{subject, `{"type":"message.sent","id":"m9","from":"alice","group":"g"}`},
		{subject, `{"type":"message.read","message":"m0","user":"reader1","group":"` + elsewhere + `"}`},
	} {
		bad = append(bad, log.PublishRaw(x.subject, []byte(x.data)))
	}
	log.Put(10, burst(5, 5, 3)...)
	o := Options{Dir: t.TempDir()}
	r := start(t, log, o)
	r.caughtUp()
	check := func(r *running) {
		t.Helper()
		for i := range 10 {
			if m, err := r.Message(app, message(i)); err != nil || m.Read != 3 {
				t.Errorf("message %d: %+v, %v", i, m, err)
			}
		}
		total, latest := r.Poison()
		var where []uint64
		for _, x := range latest {
			where = append(where, x.Sequence)
			if x.Partition != 0 || x.Reason == "" || x.At == 0 {
				t.Errorf("poison entry %+v", x)
			}
		}
		if int(total) != len(bad) || !slices.Equal(where, bad) {
			t.Errorf("%d poison entries, at %v; want them at %v", total, where, bad)
		}
	}
	check(r)
	for _, sequence := range bad {
		if list, err := r.Outcomes(testContext(t), 0, sequence); err != nil || len(list) > 0 {
			t.Errorf("outcomes of poison: %v, %v", list, err)
		}
	}
	r.stop()
	r = start(t, log, o)
	check(r)

	newer := log.PublishRaw(events.BatchSubject(0), []byte{0x08, 0x7f}) // version 127
	<-r.done
	if !errors.Is(r.err, events.ErrVersion) {
		t.Errorf("an entry of a newer version: %v", r.err)
	}
	if at := positions(r.Projector)[0]; at != newer-1 {
		t.Errorf("the fold stands at %d, the entry it cannot read is %d", at, newer)
	}
}

// What outside producers publish in vain is told as it is folded, and not again in a replay.
func TestDeadLettersAreTold(t *testing.T) {
	log := openLog(t, 2)
	var mu sync.Mutex
	var told []DeadLetter
	o := Options{Dir: t.TempDir(), DeadLetters: func(v DeadLetter) {
		mu.Lock()
		defer mu.Unlock()
		v.Data = slices.Clone(v.Data)
		told = append(told, v)
	}}
	r := start(t, log, o)
	log.Group(3)
	log.Put(10, burst(0, 5, 3)...)
	const subject, unknown = "receipts.v1.0.message-read.acme.chat", "receipts.v1.0.message-read.acme.none"
	group := "g" // of partition 0, for an app that does not exist
	for n := 0; events.Partition(&events.Event{App: "acme#none", Group: group}, 2) != 0; n++ {
		group = fmt.Sprint("g", n)
	}
	event := `{"type":"message.read","message":"m0","user":"reader1","group":"` + group + `"}`
	first := log.PublishRaw(subject, []byte(`{"type":"message.read"}`))
	second := log.PublishRaw(unknown, []byte(event))
	r.caughtUp()
	mu.Lock()
	if len(told) != 2 {
		t.Fatalf("told of %+v", told)
	}
	if v := told[0]; v.Sequence != first || v.UnknownApp || v.Subject != subject || string(v.Data) != `{"type":"message.read"}` || v.Reason == "" || v.At == 0 {
		t.Errorf("%+v", v)
	}
	if v := told[1]; v.Sequence != second || !v.UnknownApp || v.Subject != unknown || string(v.Data) != event || v.Reason != events.RejectedNoApp.Reason() {
		t.Errorf("%+v", v)
	}
	told = nil
	mu.Unlock()
	r.stop()
	o.Dir = t.TempDir() // everything is folded again
	start(t, log, o).caughtUp()
	mu.Lock()
	defer mu.Unlock()
	if len(told) > 0 {
		t.Errorf("a replay tells of %+v", told)
	}
}
