package projections_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
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
