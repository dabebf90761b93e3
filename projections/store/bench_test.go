package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

const (
	benchApp     = "acme#chat"
	benchGroups  = 100
	benchMembers = 20
)

// bench is a fold over a store on the disk.
type bench struct {
	b     *testing.B
	dir   string
	s     *store.Store
	p     *projections.Partition
	seq   uint64
	sent  int // messages
	batch events.Batch
}

func newBench(b *testing.B) *bench {
	x := &bench{b: b, dir: b.TempDir()}
	x.open(256 << 20)
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	list := []events.Event{{Kind: events.AppConfigured, App: benchApp, Settings: &settings, Revision: 1}}
	for g := range benchGroups {
		e := events.Event{Kind: events.GroupCreated, App: benchApp, Group: benchGroup(g), User: benchUser(0)}
		for m := range benchMembers {
			e.Members = append(e.Members, benchUser(m))
		}
		list = append(list, e)
	}
	x.apply(list)
	return x
}

func benchGroup(i int) string   { return fmt.Sprintf("2789000%08d", i%benchGroups) }
func benchUser(i int) string    { return fmt.Sprintf("user%08d", i) }
func benchMessage(i int) string { return fmt.Sprint(1146853827194029056 + uint64(i)*4194304) }

func (x *bench) open(cacheBytes int) {
	x.b.Helper()
	var err error
	if x.s, err = store.Open(x.dir, store.Options{}); err != nil {
		x.b.Fatal(err)
	}
	if x.p, err = projections.Open(0, x.s, projections.Options{CacheBytes: cacheBytes}); err != nil {
		x.b.Fatal(err)
	}
}

func (x *bench) close() {
	x.b.Helper()
	if err := x.s.Close(); err != nil {
		x.b.Fatal(err)
	}
}

func (x *bench) apply(list []events.Event) {
	x.b.Helper()
	x.seq++
	x.batch.SetEvents(list)
	if _, err := x.p.Apply(projections.Decoded{Sequence: x.seq, At: int64(x.seq), Batch: &x.batch}); err != nil {
		x.b.Fatal(err)
	}
}

// send has n messages sent and read by half of their group.
func (x *bench) send(n int) {
	x.b.Helper()
	var list []events.Event
	for range n {
		id, group := benchMessage(x.sent), benchGroup(x.sent)
		list = append(list, events.Event{Kind: events.MessageSent, App: benchApp, Group: group, User: benchUser(0), Message: id, Receipt: true})
		for m := 1; m <= benchMembers/2; m++ {
			list = append(list, events.Event{Kind: events.MessageRead, App: benchApp, Group: group, User: benchUser(m), Message: id})
		}
		x.sent++
		if len(list) > 4000 {
			x.apply(list)
			list = list[:0]
		}
	}
	if len(list) > 0 {
		x.apply(list)
	}
}

// BenchmarkCheckpoint guards what a checkpoint costs: one op is one of 20,000 changed messages. The
// pause is the part during which the fold stands still.
func BenchmarkCheckpoint(b *testing.B) {
	const messages = 20_000
	x := newBench(b)
	defer x.close()
	var pause time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		x.send(messages)
		b.StartTimer()
		started := time.Now()
		c, err := x.p.Capture()
		pause += time.Since(started)
		if err == nil {
			err = x.s.Commit(c)
		}
		if err != nil {
			b.Fatal(err)
		}
		x.p.Committed(c)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
	b.ReportMetric(float64(pause.Microseconds())/float64(b.N), "µs-pause")
}

// BenchmarkQueryCounts guards the answer for 100 messages, from the cache and from the disk's
// files.
func BenchmarkQueryCounts(b *testing.B) {
	const messages = 100_000
	x := newBench(b)
	for range messages / 10_000 {
		x.send(10_000)
		commit(b, x.s, x.p)
	}
	x.close()
	for _, c := range []struct {
		name       string
		cacheBytes int
		among      int // messages that are asked for
	}{{"hot", 256 << 20, 1000}, {"cold", 1, messages}} {
		b.Run(c.name, func(b *testing.B) {
			x.b = b
			x.open(c.cacheBytes)
			defer x.close()
			ids := make([]string, 100)
			next := 0
			ask := func() {
				for i := range ids {
					next = (next + 7919) % c.among // prime to it
					ids[i] = benchMessage(next)
				}
				counts, err := x.p.Counts(benchApp, ids)
				if err != nil || len(counts) != len(ids) || counts[ids[0]].Read != benchMembers/2 {
					b.Fatalf("%d counts, %v", len(counts), err)
				}
			}
			if c.among < messages {
				for range c.among / len(ids) {
					ask() // all of them are in memory then
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				ask()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/message")
		})
	}
}

// BenchmarkQueryLists guards a page of 100 readers of a message of a large group, and one of 100
// members who have not read it.
func BenchmarkQueryLists(b *testing.B) {
	const members, limit = 2000, 100
	x := newBench(b)
	defer x.close()
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.GroupReceipts.MaxGroupSize = true, 0
	list := []events.Event{
		{Kind: events.AppConfigured, App: benchApp, Settings: &settings, Revision: 2},
		{Kind: events.GroupCreated, App: benchApp, Group: "large", User: benchUser(0)},
	}
	for m := range members {
		list[1].Members = append(list[1].Members, benchUser(m))
	}
	list = append(list, events.Event{Kind: events.MessageSent, App: benchApp, Group: "large", User: benchUser(0), Message: "m", Receipt: true})
	for m := 1; m <= members/2; m++ {
		list = append(list, events.Event{Kind: events.MessageRead, App: benchApp, Group: "large", User: benchUser(m), Message: "m"})
	}
	x.apply(list)
	large := events.Conversation{App: benchApp, Group: "large"}
	b.Run("Readers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if page, err := x.p.Readers(large, "m", members/4, limit); err != nil || len(page.Readers) != limit {
				b.Fatalf("%d readers, %v", len(page.Readers), err)
			}
		}
	})
	b.Run("NonReaders", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if page, err := x.p.NonReaders(large, "m", 0, limit); err != nil || len(page.Users) != limit {
				b.Fatalf("%d users, %v", len(page.Users), err)
			}
		}
	})
}

// BenchmarkStateSize guards what a receipt takes on the disk once the state is compacted: groups of
// 20, messages read by half of them.
func BenchmarkStateSize(b *testing.B) {
	const messages = 20_000
	var bytes uint64
	for b.Loop() {
		x := newBench(b)
		x.send(messages)
		commit(b, x.s, x.p)
		if err := x.s.Compact(b.Context()); err != nil {
			b.Fatal(err)
		}
		bytes = x.s.DiskBytes()
		x.close()
	}
	b.ReportMetric(float64(bytes)/(messages*benchMembers/2), "B/receipt")
}

// BenchmarkStateWritten guards how many bytes the store writes for a receipt, merges of its files
// included, while checkpoints go on: groups of 20, messages read by half of them. What it merges
// when depends on nothing else, since each checkpoint waits for the merges of the one before.
func BenchmarkStateWritten(b *testing.B) {
	const checkpoints, messages = 100, 1000
	var bytes uint64
	for b.Loop() {
		x := newBench(b)
		for range checkpoints {
			x.send(messages)
			commit(b, x.s, x.p)
			for before := uint64(0); x.s.WrittenBytes() != before; time.Sleep(10 * time.Millisecond) {
				before = x.s.WrittenBytes()
			}
		}
		bytes = x.s.WrittenBytes()
		x.close()
	}
	b.ReportMetric(float64(bytes)/(checkpoints*messages*benchMembers/2), "B-written/receipt")
}

// BenchmarkOpen guards the time from the start to the first entry, over the state of 100,000
// messages.
func BenchmarkOpen(b *testing.B) {
	x := newBench(b)
	for range 10 {
		x.send(10_000)
		commit(b, x.s, x.p)
	}
	x.close()
	for b.Loop() {
		x.open(256 << 20)
		if seq, _ := x.p.Position(); seq != x.seq {
			b.Fatalf("opened at %d, want %d", seq, x.seq)
		}
		b.StopTimer()
		x.close()
		b.StartTimer()
	}
}
