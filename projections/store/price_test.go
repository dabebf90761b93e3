package store_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// BenchmarkPrice says what event ids cost, and devices that acknowledge summaries: bytes of the log
// and of the compacted state, and allocations of encoding and folding, for each receipt. Each of 50
// entries has 2000 reads in groups of 20, and one acknowledgement for each of ten devices, or of
// somebody who names none.
func BenchmarkPrice(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name    string
		named   func(entry int, list []events.Event)
		devices int
	}{
		{name: "plain"},
		{name: "idempotency key", named: func(entry int, list []events.Event) {
			events.NameEvents(fmt.Sprintf("request-%06d", entry), list)
		}},
		{name: "uuids", named: func(_ int, list []events.Event) {
			for i := range list {
				list[i].EventID = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48))
			}
		}},
		{name: "two devices", devices: 2},
		{name: "five devices", devices: 5},
	} {
		b.Run(c.name, func(b *testing.B) {
			const entries, receipts = 50, 2000
			var log, state int
			b.ReportAllocs()
			for b.Loop() {
				x := newBench(b)
				log = 0
				for entry := range entries {
					list := priced(x, receipts)
					if c.named != nil {
						c.named(entry, list)
					}
					for d := range 10 {
						e := events.Event{Kind: events.StatisticSeen, App: benchApp, User: benchUser(0), Upto: x.seq}
						if c.devices > 0 {
							e.Device = fmt.Sprint("device-", d%c.devices)
						}
						list = append(list, e)
					}
					var builder events.Builder
					for i := range list {
						builder.Add(&list[i])
					}
					log += len(builder.Encode(nil))
					x.apply(list)
				}
				commit(b, x.s, x.p)
				if err := x.s.Compact(b.Context()); err != nil {
					b.Fatal(err)
				}
				state = int(x.s.DiskBytes())
				x.close()
			}
			b.ReportMetric(float64(log)/(entries*receipts), "B-log/receipt")
			b.ReportMetric(float64(state)/(entries*receipts), "B-state/receipt")
		})
	}
}

// priced are messages with so many reads in all, ten of each.
func priced(x *bench, receipts int) (list []events.Event) {
	for range receipts / 10 {
		id, group := benchMessage(x.sent), benchGroup(x.sent)
		list = append(list, events.Event{Kind: events.MessageSent, App: benchApp, Group: group, User: benchUser(0), Message: id, Receipt: true})
		for m := 1; m <= 10; m++ {
			list = append(list, events.Event{Kind: events.MessageRead, App: benchApp, Group: group, User: benchUser(m), Message: id})
		}
		x.sent++
	}
	return list
}
