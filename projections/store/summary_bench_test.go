package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// BenchmarkSummariesWritten says what summaries add to what the store writes for a receipt, merges
// of its files included. The same 100,000 messages with ten reads each, in a hundred checkpoints,
// are those of so many authors, who never acknowledge what they are told, or do so after each
// checkpoint; and once they are imported, so that nobody is told anything. The items and authors
// are what checkpoints have of them, before it is compressed and merged.
func BenchmarkSummariesWritten(b *testing.B) {
	for _, authors := range []int{1, 100, 2000} {
		for _, how := range []string{"nobody acknowledges", "all acknowledge", "imported"} {
			b.Run(fmt.Sprintf("%d/%s", authors, how), func(b *testing.B) {
				var x summaries
				for b.Loop() {
					x = summaries{bench: newBench(b), authors: authors, imported: how == "imported"}
					x.run(how == "all acknowledge")
				}
				x.report()
			})
		}
	}
}

// summaries are messages of several authors, each of whom has a group of their own or shares one.
type summaries struct {
	*bench
	authors  int
	imported bool
	put      [256]int // bytes, by table
	written  uint64
}

const (
	summaryCheckpoints = 100
	summaryMessages    = 1000 // a checkpoint
	summaryReaders     = 10
)

func (x *summaries) author(i int) string { return fmt.Sprintf("author%08d", i%x.authors) }
func (x *summaries) group(i int) string  { return fmt.Sprintf("group%08d", i%min(x.authors, 100)) }

func (x *summaries) run(acknowledge bool) {
	x.b.Helper()
	for g := range min(x.authors, 100) {
		e := events.Event{Kind: events.GroupCreated, App: benchApp, Group: x.group(g), User: x.author(g)}
		for m := g; m < x.authors; m += 100 {
			e.Members = append(e.Members, x.author(m))
		}
		for m := range summaryReaders {
			e.Members = append(e.Members, benchUser(m))
		}
		x.apply([]events.Event{e})
	}
	for range summaryCheckpoints {
		x.send(summaryMessages)
		commit(x.b, x.s, x.p)
		for table, n := range x.s.CommittedBytes() {
			x.put[table] += n
		}
		for before := uint64(0); x.s.WrittenBytes() != before; time.Sleep(10 * time.Millisecond) {
			before = x.s.WrittenBytes()
		}
		if acknowledge {
			x.acknowledge()
		}
	}
	x.written = x.s.WrittenBytes()
	x.close()
}

func (x *summaries) send(n int) {
	var list []events.Event
	for range n {
		e := events.Event{
			Kind: events.MessageSent, App: benchApp, Group: x.group(x.sent), User: x.author(x.sent),
			Message: benchMessage(x.sent), Receipt: true,
		}
		if x.imported {
			e.Imported, e.Time = true, int64(x.seq+1)
		}
		list = append(list, e)
		e.Kind, e.Receipt = events.MessageRead, false
		for m := range summaryReaders {
			e.User = benchUser(m)
			list = append(list, e)
		}
		x.sent++
	}
	x.apply(list)
}

func (x *summaries) acknowledge() {
	var list []events.Event
	for i := range x.authors {
		list = append(list, events.Event{Kind: events.StatisticSeen, App: benchApp, User: x.author(i), Upto: x.seq})
	}
	x.apply(list)
}

func (x *summaries) report() {
	const receipts = summaryCheckpoints * summaryMessages * summaryReaders
	x.b.ReportMetric(float64(x.written)/receipts, "B-written/receipt")
	x.b.ReportMetric(float64(x.put['s']+x.put['i'])/receipts, "B-items/receipt")
	x.b.ReportMetric(float64(x.put['S'])/receipts, "B-authors/receipt")
	x.b.ReportMetric(float64(x.put['m'])/receipts, "B-messages/receipt")
}
