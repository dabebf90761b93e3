package eventlog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func unpaced(int) error { return nil }

func scrubbed(t *testing.T, l *eventlog.Log) eventlog.Inspection {
	t.Helper()
	i, err := l.Scrub(testContext(t), unpaced)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// flipLive changes a bit of a file in place, as a disk does, while the server has it open.
func flipLive(t *testing.T, path string, at float64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	off, b := int64(at*float64(info.Size())), make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// While entries are appended as fast as they go, and others leave, nothing is found that is not
// there. What is there is found all the same, and the log goes on.
func TestScrubUnderWritesAndTrims(t *testing.T) {
	root := t.TempDir()
	cfg := eventlog.Config{
		Dir: filepath.Join(root, "log"), WitnessDir: filepath.Join(root, "witness"), Partitions: 2, Logger: natstest.Logger(t),
		MaxBytes: 16 << 20, Fsync: eventlog.FsyncInterval, // small blocks, and many of them
	}
	l := natstest.OpenLog(t, cfg)
	ctx, stop := context.WithCancel(testContext(t))
	var busy sync.WaitGroup
	defer busy.Wait()
	defer stop()
	for k := range 2 {
		busy.Go(func() {
			list := receipts(1500, 0)
			for ctx.Err() == nil {
				ticket, err := l.SubmitTo(ctx, k, list)
				if err == nil {
					err = ticket.Wait(ctx)
				}
				if err != nil && ctx.Err() == nil && !errors.Is(err, eventlog.ErrLogFull) {
					t.Error(err)
				}
			}
		})
		busy.Go(func() {
			for ctx.Err() == nil {
				if _, last, err := l.Bounds(ctx, k); err == nil && last > 300 {
					if err := l.Trim(ctx, k, last-300); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				}
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	blocks := 0
	// Beside other work it takes longer until it has read as much.
	began := time.Now()
	for time.Since(began) < 4*time.Second || blocks < 1000 && time.Since(began) < time.Minute {
		i := scrubbed(t, l)
		for _, f := range i.Findings {
			t.Errorf("nothing is damaged, and it says: %v", f)
		}
		for _, s := range i.Streams {
			if s.Partition >= 0 {
				blocks += int(s.Entries)
			}
		}
	}
	if blocks < 1000 {
		t.Errorf("only %d entries were read", blocks)
	}
	stop()
	busy.Wait()
}

func TestScrubFindsWhatTheDoctorFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, d *damaged)
		code   string
	}{
		{"the middle of a block", func(t *testing.T, d *damaged) { flipLive(t, d.block("1"), 0.5) }, eventlog.CodeBlockDamaged},
		{"the last entry", func(t *testing.T, d *damaged) { flipLive(t, d.block("1"), 0.995) }, eventlog.CodeBlockDamaged},
		{"the configuration", func(t *testing.T, d *damaged) { flipLive(t, filepath.Join(d.stream("1"), "meta.inf"), 0.5) }, eventlog.CodeMetaDamaged},
		{"one file of the witness", func(t *testing.T, d *damaged) {
			list, err := filepath.Glob(filepath.Join(d.cfg.WitnessDir, "witness.*"))
			d.must(err)
			flipLive(t, list[0], 0.001)
		}, eventlog.CodeWitnessDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t)
			l := natstest.OpenLog(t, d.cfg)
			if i := scrubbed(t, l); len(i.Findings) > 0 || i.Streams[0].Entries == 0 {
				t.Fatalf("before: %+v", i)
			}
			c.damage(t, d)
			i := scrubbed(t, l)
			n := slices.IndexFunc(i.Findings, func(f eventlog.Finding) bool { return f.Code == c.code })
			if n < 0 || i.Findings[n].File == "" {
				t.Fatalf("found %+v", i.Findings)
			}
			if f := i.Findings[n]; f.Code == eventlog.CodeBlockDamaged && (f.Stream != "RECEIPTS_1" || f.First == 0 || f.First > damagedEntries) {
				t.Errorf("it says %+v", f)
			}
			if err := l.Err(); err != nil {
				t.Errorf("the log stopped: %v", err)
			}
			d.must(submitOne(t, l))
		})
	}
}

func submitOne(t *testing.T, l *eventlog.Log) error {
	ticket, err := l.SubmitTo(testContext(t), 0, []events.Event{{Kind: events.StatisticSeen, App: "o#a", User: "somebody", Upto: 1}})
	if err != nil {
		return err
	}
	return ticket.Wait(testContext(t))
}
