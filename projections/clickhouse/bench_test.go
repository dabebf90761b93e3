package clickhouse

import (
	"slices"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// foldedEntry is an entry as a block takes it.
type foldedEntry struct {
	x        projections.Decoded
	outcomes []events.Outcome
	facts    []projections.Fact
}

// benchEntries folds traffic until it makes as many rows as a block of the sink has by default.
func benchEntries(b *testing.B) (entries []foldedEntry) {
	f := newFolder(b)
	filled := &Block{Partition: 3}
	g := f.traffic(filled, 1)
	for filled.Rows() < 1<<17 {
		batch := &events.Batch{}
		batch.SetEvents(g.Next(nil, 1000))
		f.x.Sequence++
		f.x.At++
		f.x.Batch = batch
		outcomes, err := f.part.Apply(f.x)
		must(b, err)
		e := foldedEntry{f.x, slices.Clone(outcomes), f.part.TakeFacts(nil)}
		must(b, filled.Add(&e.x, e.outcomes, e.facts))
		entries = append(entries, e)
	}
	return entries
}

func fillBlock(b *testing.B, block *Block, entries []foldedEntry) {
	for i := range entries {
		e := &entries[i]
		must(b, block.Add(&e.x, e.outcomes, e.facts))
	}
}

// BenchmarkFill fills one block after another in the memory of the last.
func BenchmarkFill(b *testing.B) {
	entries := benchEntries(b)
	block := &Block{Partition: 3}
	for range 2 {
		fillBlock(b, block, entries)
		block = block.Next(block)
	}
	b.ReportAllocs()
	for b.Loop() {
		fillBlock(b, block, entries)
		b.ReportMetric(float64(block.Rows()), "rows")
		block = block.Next(block)
	}
}

// BenchmarkEncode makes the bytes that are sent of a block: as Insert does, and with all strings
// given to the driver by Append. docs/adr/0010-columns-past-the-driver.md has the results.
func BenchmarkEncode(b *testing.B) {
	block := &Block{Partition: 3}
	fillBlock(b, block, benchEntries(b))
	for _, way := range []struct {
		name   string
		encode func(*Block) ([]chcolumn.Interface, error)
	}{{"here", encodeHere}, {"driver", encodeByDriver}} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf proto.Buffer
			for b.Loop() {
				columns, err := way.encode(block)
				must(b, err)
				buf.Reset()
				for _, c := range columns {
					c.Encode(&buf)
				}
			}
		})
	}
}

func encodeHere(b *Block) ([]chcolumn.Interface, error) { return encode(eventsTable, b.all()) }

// appended is a column whose strings are given to the driver by Append.
type appended struct {
	column
	rows []string
}

func (c appended) sendTo(to chcolumn.Interface) error { return appendTo(to, c.rows) }

func encodeByDriver(b *Block) ([]chcolumn.Interface, error) {
	var columns []column
	for _, c := range b.all() {
		if d, ok := c.(dictionaryColumn); ok {
			columns = append(columns, appended{c, stringsOf(d.dict())})
		} else {
			columns = append(columns, c)
		}
	}
	return encode(eventsTable, columns)
}
