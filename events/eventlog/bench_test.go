package eventlog_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// BenchmarkPublish is the whole way of events into the log, with an fsync before every
// acknowledgement: many producers, each with submits of 1000 events and up to 8 of them under way.
func BenchmarkPublish(b *testing.B) {
	for _, fsync := range []eventlog.Fsync{eventlog.FsyncAlways, eventlog.FsyncInterval} {
		b.Run(fsync.String(), func(b *testing.B) {
			l := natstest.OpenLog(b, eventlog.Config{Fsync: fsync})
			ctx := b.Context()
			var producers atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				evs := receipts(1000, int(producers.Add(1))*1e6)
				var tickets [8]*eventlog.Ticket
				for n := 0; pb.Next(); n++ {
					slot := &tickets[n%len(tickets)]
					if *slot != nil {
						if err := (*slot).Wait(ctx); err != nil {
							b.Error(err)
							return
						}
					}
					var err error
					if *slot, err = l.Submit(ctx, evs); err != nil {
						b.Error(err)
						return
					}
				}
				for _, t := range tickets {
					if t != nil {
						if err := t.Wait(ctx); err != nil {
							b.Error(err)
						}
					}
				}
			})
			b.StopTimer()
			var entries, events, bytes uint64
			var acks time.Duration
			for _, s := range l.Stats() {
				entries, events, bytes = entries+s.Entries, events+s.Events, bytes+s.Bytes
				acks += s.AckTime
			}
			b.ReportMetric(float64(acks.Milliseconds())/float64(entries), "ms/entry")
			b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "receipts/s")
			b.ReportMetric(float64(events)/float64(entries), "receipts/entry")
			b.ReportMetric(float64(bytes)/float64(events), "B/receipt")
		})
	}
}

// BenchmarkIdleAppend is the latency of one event that comes alone, beside that of a bare fsync.
func BenchmarkIdleAppend(b *testing.B) {
	b.Run("fsync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "file"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		data := make([]byte, 200)
		for b.Loop() {
			if _, err := f.Write(data); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, fsync := range []eventlog.Fsync{eventlog.FsyncAlways, eventlog.FsyncInterval} {
		b.Run("append-"+fsync.String(), func(b *testing.B) {
			l := natstest.OpenLog(b, eventlog.Config{Fsync: fsync, Partitions: 1})
			evs := receipts(1, 0)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := l.Append(b.Context(), evs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppendTogether is the rate of many producers that each wait for one event at a time:
// what group commit makes of them.
func BenchmarkAppendTogether(b *testing.B) {
	l := natstest.OpenLog(b, eventlog.Config{})
	var producers atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(128)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		evs := receipts(1, int(producers.Add(1))*1e4)
		for pb.Next() {
			if _, err := l.Append(b.Context(), evs); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
}

// BenchmarkRead is a replay of entries of 4096 receipts, without decoding.
func BenchmarkRead(b *testing.B) {
	const entries, events = 500, 4096
	l := natstest.OpenLog(b, eventlog.Config{Fsync: eventlog.FsyncInterval, Partitions: 1})
	for n := range entries {
		if _, err := l.Append(b.Context(), receipts(events, n*events)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Read(b.Context(), 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		for r.Last() < entries {
			if _, err := r.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
	}
	b.ReportMetric(float64(b.N)*entries*events/b.Elapsed().Seconds(), "receipts/s")
}
