package projections_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/projections"
)

// benchEntries makes log entries of 4096 receipts: groups of 50 whose members read each new
// message, in the order of the members over 20 groups at a time.
func benchEntries(b *testing.B, entries int) (setup *events.Batch, batches []*events.Batch) {
	b.Helper()
	const groups, members = 100, 50
	app := "acme#chat"
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	first := []events.Event{{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1}}
	users := make([][]string, groups)
	for g := range groups {
		for m := range members {
			users[g] = append(users[g], fmt.Sprintf("user%08d", g*37+m*101))
		}
		first = append(first, events.Event{Kind: events.GroupCreated, App: app, Group: fmt.Sprintf("2789000%08d", g), User: users[g][0], Members: users[g]})
	}
	setup = new(events.Batch)
	setup.SetEvents(first)
	id := uint64(1146853827194029056)
	var list []events.Event
	for len(batches) < entries {
		for base := 0; base < groups; base += 20 {
			ids := make([]string, 20)
			for k := range ids {
				id += 4194304
				ids[k] = fmt.Sprint(id)
				g := base + k
				list = append(list, events.Event{Kind: events.MessageSent, App: app, Group: fmt.Sprintf("2789000%08d", g), User: users[g][0], Message: ids[k], Receipt: true})
			}
			for m := 1; m < members; m++ {
				for k := range ids {
					g := base + k
					list = append(list, events.Event{Kind: events.MessageRead, App: app, Group: fmt.Sprintf("2789000%08d", g), User: users[g][m], Message: ids[k]})
				}
			}
		}
		for len(list) >= 4096 {
			x := new(events.Batch)
			x.SetEvents(list[:4096])
			batches = append(batches, x)
			list = list[4096:]
		}
	}
	return setup, batches
}

// BenchmarkApply guards the cost of folding a receipt: one op is an entry of 4096, and every 250
// entries the changes are captured, as a checkpoint a second would at a million receipts a second.
func BenchmarkApply(b *testing.B) {
	setup, batches := benchEntries(b, 500)
	var part *projections.Partition
	seq := uint64(0)
	reset := func() {
		state := memory{}
		var err error
		if part, err = projections.Open(0, state, projections.Options{CacheBytes: 1 << 30}); err != nil {
			b.Fatal(err)
		}
		seq = 1
		if _, err := part.Apply(projections.Decoded{Sequence: seq, At: 1, Batch: setup}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := len(batches)
	for b.Loop() {
		if i == len(batches) {
			b.StopTimer()
			reset()
			i = 0
			b.StartTimer()
		}
		seq++
		if _, err := part.Apply(projections.Decoded{Sequence: seq, At: int64(seq), Batch: batches[i]}); err != nil {
			b.Fatal(err)
		}
		i++
		if i%250 == 0 {
			c, err := part.Capture()
			if err != nil {
				b.Fatal(err)
			}
			part.Committed(c)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/receipt")
}

// trafficEntries encodes entries of so many events of the traffic that receiptctl bench makes; the
// first entry sets it up.
func trafficEntries(b *testing.B, size, total int) [][]byte {
	b.Helper()
	t, err := sim.New(sim.DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	generators, err := t.Generators(2)
	if err != nil {
		b.Fatal(err)
	}
	settings := t.Settings()
	var list []events.Event
	for _, app := range t.Apps() {
		list = append(list, events.Event{Kind: events.AppConfigured, App: app, Settings: &settings, Revision: 1})
	}
	list = append(list, t.Setup()...)
	var entries [][]byte
	for n := 0; n < total; n += len(list) {
		if len(entries) > 0 {
			list = list[:0]
			for len(list) < size {
				for _, g := range generators {
					list = g.Next(list, 1024)
				}
			}
		}
		var builder events.Builder
		for i := range list {
			builder.Add(&list[i])
		}
		entries = append(entries, builder.Encode(nil))
	}
	return entries
}

// BenchmarkApplyTraffic is the cost of folding an event of the traffic that receiptctl bench makes:
// many conversations at a time, duplicates, receipts before their message, members who come and go.
// One op is an entry; every 200,000 events the changes are captured.
func BenchmarkApplyTraffic(b *testing.B) {
	for _, size := range []int{2048, 16384} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			entries := trafficEntries(b, size, 2_000_000)
			var part *projections.Partition
			var batch events.Batch
			n, next := 0, len(entries)
			for b.Loop() {
				b.StopTimer()
				if next == len(entries) {
					var err error
					if part, err = projections.Open(0, memory{}, projections.Options{CacheBytes: 1 << 30}); err != nil {
						b.Fatal(err)
					}
					next = 0
				}
				if err := events.DecodeEntry("receipts.v1.0.batch", entries[next], "", 1, &batch); err != nil {
					b.Fatal(err)
				}
				next++
				n += batch.Len()
				b.StartTimer()
				if _, err := part.Apply(projections.Decoded{Sequence: uint64(next), At: 1_700_000_000_000 + int64(next), Batch: &batch}); err != nil {
					b.Fatal(err)
				}
				if next%(1+200_000/size) == 0 {
					c, err := part.Capture()
					if err != nil {
						b.Fatal(err)
					}
					part.Committed(c)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
		})
	}
}

// BenchmarkLeafBesideFold compares what an entry's leaf in the tree of the log costs with decoding
// and folding that entry, of 4096 receipts.
func BenchmarkLeafBesideFold(b *testing.B) {
	setup, batches := benchEntries(b, 500)
	entries := make([][]byte, len(batches))
	var e events.Event
	for i, batch := range batches {
		var builder events.Builder
		for k := range batch.Len() {
			batch.Event(k, &e)
			builder.Add(&e)
		}
		entries[i] = builder.Encode(nil)
	}
	at := time.Unix(1, 0)
	b.Run("leaf", func(b *testing.B) {
		var edge merkle.Edge
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			data := entries[i%len(entries)]
			b.SetBytes(int64(len(data)))
			edge.Add(merkle.Stored{Sequence: uint64(i), Time: at, Subject: "receipts.v1.0.batch", Data: data}.Leaf(), func(int, uint64, []byte) {})
		}
	})
	b.Run("decode and fold", func(b *testing.B) {
		part, err := projections.Open(0, memory{}, projections.Options{CacheBytes: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := part.Apply(projections.Decoded{Sequence: 1, At: 1, Batch: setup}); err != nil {
			b.Fatal(err)
		}
		var batch events.Batch
		b.ReportAllocs()
		for i := range b.N {
			data := entries[i%len(entries)]
			b.SetBytes(int64(len(data)))
			if err := events.DecodeEntry("receipts.v1.0.batch", data, "", 1, &batch); err != nil {
				b.Fatal(err)
			}
			if _, err := part.Apply(projections.Decoded{Sequence: uint64(i + 2), At: 1, Batch: &batch}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
