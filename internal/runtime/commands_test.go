package runtime

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// inForce returns the settings and revision of every partition, and fails unless they are the same.
func (r *running) inForce() (events.Settings, uint64) {
	r.t.Helper()
	revisions := r.Projector.Revisions()[app]
	if len(revisions) != partitions {
		r.t.Fatalf("revisions %v", revisions)
	}
	first, _, _ := r.Projector.SettingsAt(0, app)
	for k := range partitions {
		if s, revision, ok := r.Projector.SettingsAt(k, app); !ok || !reflect.DeepEqual(s, first) || revision != revisions[0] || revisions[k] != revision {
			r.t.Errorf("partition %d has revision %d of %v: %+v, partition 0 %+v", k, revision, revisions, s, first)
		}
	}
	return first, revisions[0]
}

// A crash between two partitions leaves settings in the first only; the next start completes them.
func TestSettingsAreCompletedAfterACrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		before int // revisions that all partitions have
	}{{"of a new app", 0}, {"of an app with others", 2}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig(t)
			log := natstest.OpenLog(t, eventlog.Config{Dir: filepath.Join(cfg.Data, logDir), Partitions: partitions, Fsync: eventlog.FsyncInterval})
			store := func(k, revision int) {
				ticket, err := log.SubmitTo(testContext(t), k, []events.Event{configured(uint64(revision), limit(revision))})
				if err == nil {
					err = ticket.Wait(testContext(t))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for revision := range c.before {
				for k := range partitions {
					store(k, revision+1)
				}
			}
			newest := c.before + 1
			store(0, newest)
			natstest.CloseLog(t, log)

			r := start(t, cfg)
			eventually(t, "all partitions have the settings", func() bool {
				return slices.Equal(r.Projector.Revisions()[app], []uint64{uint64(newest), uint64(newest), uint64(newest)})
			})
			if s, _ := r.inForce(); !reflect.DeepEqual(s, limit(newest)) {
				t.Errorf("in force: %+v", s)
			}
			r.stop()
			last := lasts(t, cfg.Data)
			r = start(t, cfg) // and it leaves alone what is complete
			r.caughtUp()
			r.stop()
			if now := lasts(t, cfg.Data); !slices.Equal(now, last) {
				t.Errorf("the log ends at %v, was %v", now, last)
			}
		})
	}
}

// lasts are the last sequences of a stopped server's log.
func lasts(t *testing.T, data string) (list []uint64) {
	t.Helper()
	log := natstest.OpenLog(t, eventlog.Config{Dir: filepath.Join(data, logDir), Fsync: eventlog.FsyncInterval})
	defer natstest.CloseLog(t, log)
	for k := range log.Partitions() {
		_, last, err := log.Bounds(testContext(t), k)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, last)
	}
	return list
}

// However many change the settings at once, every partition ends with the same, and a revision
// means the same settings everywhere.
func TestSettingsChangedAtOnceAreTheSameEverywhere(t *testing.T) {
	const people, changes = 6, 5
	r := start(t, testConfig(t))
	var all sync.WaitGroup
	for p := range people {
		all.Go(func() {
			for i := range changes {
				if _, err := r.Configure(testContext(t), app, limit(100*p+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	r.caughtUp()
	if _, revision := r.inForce(); revision != people*changes {
		t.Errorf("revision %d after %d changes", revision, people*changes)
	}
	meaning := map[uint64]events.Settings{}
	for k := range partitions {
		for _, e := range r.read(k) {
			if s, known := meaning[e.Revision]; known && !reflect.DeepEqual(s, *e.Settings) {
				// Whoever lost partition 0 must not have gone on to the others.
				if k != 0 {
					t.Errorf("partition %d, revision %d: %+v, elsewhere %+v", k, e.Revision, *e.Settings, s)
				}
				continue
			}
			meaning[e.Revision] = *e.Settings
		}
	}
	want := limit(7)
	if got, err := r.Configure(testContext(t), app, want); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("configured %+v, %v", got, err)
	}
}

// read returns the events of a partition.
func (r *running) read(partition int) (list []events.Event) {
	r.t.Helper()
	ctx := testContext(r.t)
	_, last, err := r.Log.Bounds(ctx, partition)
	if err != nil {
		r.t.Fatal(err)
	}
	reader, err := r.Log.Read(ctx, partition, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer reader.Close()
	for reader.Last() < last {
		var batch events.Batch
		e, err := reader.Next(ctx)
		if err == nil {
			err = events.DecodeEntry(e.Subject, e.Data, e.MsgID, partitions, &batch)
		}
		if err != nil {
			r.t.Fatal(err)
		}
		for i := range batch.Len() {
			var x events.Event
			batch.Event(i, &x)
			list = append(list, x)
		}
	}
	return list
}

// A change whose answer was lost is in the log all the same: the next one is newer, in every
// partition.
func TestSettingsOfAnUnfinishedChangeGiveWay(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, limit(1)); err != nil {
		t.Fatal(err)
	}
	// Partition 0 has it, or is about to; the others never will.
	if _, err := r.Log.SubmitTo(testContext(t), 0, []events.Event{configured(2, limit(2))}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Configure(testContext(t), app, limit(3))
	if err != nil || !reflect.DeepEqual(got, limit(3)) {
		t.Errorf("configured %+v, %v", got, err)
	}
	if s, revision := r.inForce(); !reflect.DeepEqual(s, limit(3)) || revision != 3 {
		t.Errorf("revision %d: %+v", revision, s)
	}
}

func TestConfigureEndsWithTheContext(t *testing.T) {
	r := start(t, testConfig(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := r.Configure(ctx, app, limit(1)); err == nil {
		t.Errorf("configured %+v", s)
	}
}

// What has been seen leaves the summary, what was read since stays, and nothing is appended when
// there is nothing to see.
func TestSeenTakesFromTheSummaryWhatWasShown(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, limit(0)); err != nil {
		t.Fatal(err)
	}
	groups := 0
	for ; groups < 12; groups++ { // in all partitions
		r.append(group(fmt.Sprint("g", groups), 2)...)
	}
	r.caughtUp()
	s, upto, err := r.Projector.Summary(app, "alice", "")
	if err != nil || len(s.Items) != 2*groups || len(upto) != partitions {
		t.Fatalf("%d items, up to %v, %v", len(s.Items), upto, err)
	}
	r.append(group("late", 1)...)
	r.caughtUp()
	seen := func(user string) {
		t.Helper()
		if err := (&commands{log: r.Log, projector: r.Projector}).Seen(testContext(t), app, user, "", upto); err != nil {
			t.Fatal(err)
		}
	}
	seen("alice")
	s, _, err = r.Projector.Summary(app, "alice", "")
	if err != nil || len(s.Items) != 1 || s.Items[0].Message != "late-a" {
		t.Errorf("left: %+v, %v", s, err)
	}
	ends := make([]uint64, partitions)
	for k := range ends {
		_, ends[k], _ = r.Log.Bounds(testContext(t), k)
	}
	seen("bob")
	_, upto, _ = r.Projector.Summary(app, "alice", "")
	seen("alice")
	seen("alice") // nothing is left
	appended := 0
	for k := range ends {
		_, now, _ := r.Log.Bounds(testContext(t), k)
		appended += int(now - ends[k])
	}
	if s, _, err := r.Projector.Summary(app, "alice", ""); err != nil || len(s.Items) > 0 || appended != 1 {
		t.Errorf("left: %+v, %v; %d entries were appended for one message", s, err, appended)
	}
}

// What one device has seen leaves its own summary and nobody else's. A device is known once it has
// shown itself; doing so again is not worth an event.
func TestDevicesHaveSummariesOfTheirOwn(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, limit(0)); err != nil {
		t.Fatal(err)
	}
	commands := &commands{log: r.Log, projector: r.Projector}
	seen := func(device string, upto []uint64) {
		t.Helper()
		if err := commands.Seen(testContext(t), app, "alice", device, upto); err != nil {
			t.Fatal(err)
		}
	}
	told := func(want int, devices ...string) (upto []uint64) {
		t.Helper()
		for _, device := range devices {
			s, at, err := r.Projector.Summary(app, "alice", device)
			if upto = at; err != nil || len(s.Items) != want {
				t.Errorf("%d items for %q, %v; want %d", len(s.Items), device, err, want)
			}
		}
		return upto
	}
	entries := func() (n uint64) {
		for k := range partitions {
			_, last, err := r.Log.Bounds(testContext(t), k)
			if err != nil {
				t.Fatal(err)
			}
			n += last
		}
		return n
	}
	nothing := make([]uint64, partitions)
	seen("phone", nothing)
	seen("laptop", nothing)
	groups := 0
	for ; groups < 12; groups++ { // in all partitions
		r.append(group(fmt.Sprint("g", groups), 2)...)
	}
	r.caughtUp()
	upto := told(2*groups, "", "phone", "laptop", "tablet")
	seen("phone", upto)
	told(0, "", "phone", "tablet")
	told(2*groups, "laptop")

	before := entries()
	seen("phone", upto)
	seen("phone", nothing)
	if now := entries(); now != before {
		t.Errorf("%d entries for nothing", now-before)
	}
	seen("laptop", upto)
	told(0, "", "phone", "laptop", "tablet")

	r.append(group("late", 1)...)
	r.caughtUp()
	upto = told(1, "", "phone", "laptop", "tablet")
	seen("", upto) // for all of them
	told(0, "", "phone", "laptop", "tablet")
}
