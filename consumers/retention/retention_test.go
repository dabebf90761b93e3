package retention_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/retention"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// TestEntriesLeaveOnlyWhenEverybodyHasThem: whatever age and size want, what is not safe stays.
func TestEntriesLeaveOnlyWhenEverybodyHasThem(t *testing.T) {
	ctx := consumertest.Context(t)
	log := consumertest.Open(t, 1)
	log.Group(3)
	log.Put(1, consumertest.Burst(0, 20, 3)...)
	first := func() uint64 {
		t.Helper()
		first, _, err := log.Bounds(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	last := log.Last(0)
	_, size, err := log.Size(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	safe, failed := uint64(10), error(nil)
	r := retention.Trimmer{
		Log: log, Logger: natstest.Logger(t),
		Safe: func(context.Context, int) (uint64, error) { return safe, failed },
	}
	later := func() time.Time { return time.Now().Add(time.Hour) }
	for _, step := range []struct {
		name   string
		change func()
		want   uint64
	}{
		{"no limit", func() {}, 1},
		{"nothing is old", func() { r.Age = time.Hour / 2 }, 1},
		{"everything is old, the archive has less", func() { r.Now = later }, 10},
		{"nobody says what is safe", func() { safe, failed = last, errors.New("no answer") }, 10},
		{"nothing may leave now", func() { safe, failed = 0, nil }, 10},
		{"it is not too large", func() { r.Age, r.Bytes, safe = 0, int64(size), last }, 10},
		{"half of it is too much", func() { r.Bytes = int64(size) / 2 }, 0},
		{"the last safe entry stays", func() { r.Age = time.Minute }, last},
	} {
		step.change()
		if err := r.Trim(ctx, 0); err != nil && !errors.Is(err, failed) {
			t.Fatalf("%s: %v", step.name, err)
		}
		got := first()
		if step.want == 0 && (got < last/3 || got > last*2/3) || step.want != 0 && got != step.want {
			t.Errorf("%s: the log begins with %d of %d, want %d", step.name, got, last, step.want)
		}
	}
}

// sharing is a log whose entries stay while another partition has them, too.
type sharing struct {
	retention.Log
	alone bool
}

func (l *sharing) Trim(ctx context.Context, partition int, before uint64) error {
	if !l.alone {
		return nil
	}
	return l.Log.Trim(ctx, partition, before)
}

// TestOnlyWhatLeftIsSaidToHaveLeft: entries that a partition lets go of, and another one does not
// yet, are not said to have left at each look; when they have, that is said once.
func TestOnlyWhatLeftIsSaidToHaveLeft(t *testing.T) {
	ctx := consumertest.Context(t)
	log := consumertest.Open(t, 1)
	log.Group(3)
	log.Put(1, consumertest.Burst(0, 20, 3)...)
	var said bytes.Buffer
	shared := &sharing{Log: log}
	r := retention.Trimmer{
		Log: shared, Age: time.Minute, Now: func() time.Time { return time.Now().Add(time.Hour) },
		Safe:   func(context.Context, int) (uint64, error) { return 10, nil },
		Logger: slog.New(slog.NewTextHandler(&said, nil)),
	}
	look := func(want int) {
		t.Helper()
		for range 3 {
			if err := r.Trim(ctx, 0); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(said.String(), "entries left the log"); n != want {
			t.Errorf("said %d times, want %d: %s", n, want, &said)
		}
	}
	look(0)
	shared.alone = true
	look(1)
	if !strings.Contains(said.String(), "from=1 before=10") {
		t.Errorf("said: %s", &said)
	}
}
