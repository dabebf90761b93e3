package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// grown is what a log of two partitions holds, before and after it has four.
type grown struct {
	identity uint64
	entries  [2][]eventlog.Entry
}

func newGrown(t *testing.T, ctx context.Context, cfg eventlog.Config) (g grown) {
	t.Helper()
	cfg.Partitions = 2
	l := natstest.OpenLog(t, cfg)
	defer natstest.CloseLog(t, l)
	g.identity = l.Identity()
	for i := range 40 {
		if _, err := l.Append(ctx, []events.Event{read(fmt.Sprintf("g%d", i), "u")}); err != nil {
			t.Fatal(err)
		}
	}
	for p := range g.entries {
		g.entries[p] = entriesOf(t, ctx, l, p)
	}
	return g
}

// check looks whether the log, open with four partitions, has all that it had, at the same places,
// and takes more.
func (g *grown) check(t *testing.T, ctx context.Context, l *eventlog.Log) {
	t.Helper()
	if l.Partitions() != 4 || l.Identity() != g.identity {
		t.Fatalf("%d partitions, identity %x, it was %x", l.Partitions(), l.Identity(), g.identity)
	}
	for p := range 4 {
		was, is := g.entries[p%2], entriesOf(t, ctx, l, p)
		if len(is) < len(was)+2 {
			t.Fatalf("partition %d has %d entries, %d had %d", p, len(is), p%2, len(was))
		}
		for i := range was {
			if eventlog.Fingerprint(is[i]) != eventlog.Fingerprint(was[i]) || eventlog.Leaf(is[i]) != eventlog.Leaf(was[i]) || is[i].Partitions != 2 {
				t.Fatalf("partition %d: entry %d of %d partitions is another one", p, is[i].Sequence, is[i].Partitions)
			}
			e, err := l.EntryAt(ctx, p, was[i].Sequence)
			if err != nil || eventlog.Fingerprint(e) != eventlog.Fingerprint(was[i]) || e.Partitions != 2 {
				t.Fatalf("partition %d: entry %d: %v", p, was[i].Sequence, err)
			}
		}
		if parent, upto := l.Fork(p); p < 2 && (parent != -1 || upto != 0) || p >= 2 && (parent != p-2 || upto < uint64(len(was))) {
			t.Fatalf("partition %d forked from %d at entry %d", p, parent, upto)
		}
		for i := range is {
			if is[i].Sequence != uint64(i+1) {
				t.Fatalf("partition %d: entry %d has sequence %d", p, i+1, is[i].Sequence)
			}
		}
	}
	for i := range 20 {
		e := read(fmt.Sprintf("later%d", i), "u")
		ticket, err := l.Append(ctx, []events.Event{e})
		if err != nil {
			t.Fatal(err)
		}
		at := ticket.Locate(0)
		have, err := l.EntryAt(ctx, at.Partition, at.Sequence)
		if err != nil || have.Partitions != 4 || at.Partition != events.Partition(&e, 4) {
			t.Fatalf("%+v: %d partitions, %v", at, have.Partitions, err)
		}
	}
}

// TestRepartitionGoesOnAfterEachStep takes a copy of all files after each step of a repartition, as
// kill -9 leaves them. From each it is finished, nothing else opens the log before, and in the end
// the log has everything at its place, is sound, and can be repartitioned again.
func TestRepartitionGoesOnAfterEachStep(t *testing.T) {
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: filepath.Join(t.TempDir(), "log")}
	g := newGrown(t, ctx, cfg)
	var steps, dirs []string
	root, made := t.TempDir(), 0
	r, err := eventlog.Repartition(ctx, eventlog.WithStep(cfg, func(step string) {
		dir := filepath.Join(root, fmt.Sprint(len(steps)), "log")
		for _, suffix := range []string{"", ".witness"} {
			if err := os.CopyFS(dir+suffix, os.DirFS(cfg.Dir+suffix)); err != nil {
				t.Fatal(err)
			}
		}
		steps, dirs = append(steps, step), append(dirs, dir)
		if step == "made" { // as it is when the process dies while the server describes the stream
			made++
			cut := filepath.Join(root, fmt.Sprint("cut", made), "log")
			for _, suffix := range []string{"", ".witness"} {
				if err := os.CopyFS(cut+suffix, os.DirFS(cfg.Dir+suffix)); err != nil {
					t.Fatal(err)
				}
			}
			sums, err := filepath.Glob(filepath.Join(cut, "jetstream", "*", "streams", fmt.Sprint("RECEIPTS_", 1+made), "meta.sum"))
			if err != nil || len(sums) != 1 || os.Remove(sums[0]) != nil {
				t.Fatal(sums, err)
			}
			steps, dirs = append(steps, "made in part"), append(dirs, cut)
		}
	}), 4)
	if err != nil || r.From != 2 || r.To != 4 || len(r.ForkPoints) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(steps) < 10 {
		t.Errorf("only the steps %v", steps)
	}
	for i, dir := range append(dirs, cfg.Dir) {
		after := "all"
		if i < len(steps) {
			after = steps[i]
		}
		t.Run(fmt.Sprint(i, " ", after), func(t *testing.T) {
			cfg := eventlog.Config{Dir: dir}
			if after != "done" && after != "all" {
				if _, err := eventlog.Open(ctx, cfg); !errors.Is(err, eventlog.ErrRepartitioning) {
					t.Fatalf("opened before it was finished: %v", err)
				}
				if again, err := eventlog.Repartition(ctx, cfg, 0); err != nil || again.To != 4 {
					t.Fatalf("%+v, %v", again, err)
				}
			}
			l := natstest.OpenLog(t, cfg)
			g.check(t, ctx, l)
			if found, err := l.Scrub(ctx, func(int) error { return nil }); err != nil || len(found.Findings) > 0 {
				t.Fatalf("%+v, %v", found.Findings, err)
			}
			natstest.CloseLog(t, l)
			if found, err := eventlog.Inspect(ctx, dir, dir+".witness", 0, nil); err != nil || len(found.Findings) > 0 {
				t.Fatalf("%+v, %v", found.Findings, err)
			}
			cfg.Partitions = 2 // as it was made
			natstest.CloseLog(t, natstest.OpenLog(t, cfg))
		})
	}
	if _, err := eventlog.Repartition(ctx, cfg, 12); !errors.Is(err, eventlog.ErrPartitions) {
		t.Errorf("to three times as many: %v", err)
	}
	if _, err := eventlog.Repartition(ctx, cfg, 8); err != nil {
		t.Fatal(err)
	}
	l := natstest.OpenLog(t, cfg)
	defer natstest.CloseLog(t, l)
	for p := range 8 {
		all := entriesOf(t, ctx, l, p)
		for i, e := range g.entries[p%2] {
			if eventlog.Fingerprint(all[i]) != eventlog.Fingerprint(e) || all[i].Partitions != 2 {
				t.Fatalf("partition %d of 8: entry %d is another one", p, i+1)
			}
		}
		if n := all[len(all)-1].Partitions; p >= 4 && n != 8 {
			t.Errorf("the last entry of partition %d was stored in %d partitions", p, n)
		}
		last := uint64(len(all))
		at := uint64(0)
		for _, s := range l.Spans(p, 0, last) {
			if s.After != at || s.Upto <= s.After || s.Partition%2 != p%2 {
				t.Errorf("span %+v of partition %d after entry %d", s, p, at)
			}
			at = s.Upto
		}
		if at != last {
			t.Errorf("the spans of partition %d end with entry %d of %d", p, at, last)
		}
	}
}

// TestSharedEntriesLeaveTogether trims partitions that have entries in common: these leave when
// both were trimmed, and one whose own begin later than it was trimmed says so.
func TestSharedEntriesLeaveTogether(t *testing.T) {
	ctx := testContext(t)
	cfg := eventlog.Config{Dir: filepath.Join(t.TempDir(), "log")}
	newGrown(t, ctx, cfg)
	r, err := eventlog.Repartition(ctx, cfg, 4)
	if err != nil {
		t.Fatal(err)
	}
	l := natstest.OpenLog(t, cfg)
	defer natstest.CloseLog(t, l)
	firsts := func(want ...uint64) {
		t.Helper()
		for i, p := range []int{0, 2} {
			if first, _, err := l.Bounds(ctx, p); err != nil || first != want[i] {
				t.Fatalf("partition %d begins with entry %d, want %d: %v", p, first, want[i], err)
			}
		}
	}
	trim := func(p int, before uint64) {
		t.Helper()
		if err := l.Trim(ctx, p, before); err != nil {
			t.Fatal(err)
		}
	}
	trim(0, 5)
	firsts(1, 1)
	trim(2, 3)
	firsts(3, 3)
	fork := r.ForkPoints[0]
	trim(2, fork+1)
	firsts(5, 5)
	trim(0, fork+1)
	firsts(fork+1, fork+1)
	if _, err := l.Read(ctx, 2, 1); !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("what has left is read: %v", err)
	}
	reader, err := l.Read(ctx, 2, fork)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if e, err := reader.Next(ctx); err != nil || e.Sequence != fork+1 {
		t.Fatalf("entry %d, %v", e.Sequence, err)
	}
}
