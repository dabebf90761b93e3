package clickhouse

import (
	"slices"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// foldedEntry is an entry as a block takes it.
type foldedEntry struct {
	x        projections.Decoded
	outcomes []events.Outcome
	facts    []projections.Fact
}

// benchEntries folds traffic until it makes as many rows as a block of the sink has.
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

func fill(b *testing.B, block *Block, entries []foldedEntry) {
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
		fill(b, block, entries)
		block = block.Next(block)
	}
	b.ReportAllocs()
	for b.Loop() {
		fill(b, block, entries)
		b.ReportMetric(float64(block.Rows()), "rows")
		block = block.Next(block)
	}
}

// BenchmarkEncode has the driver take a block as a whole, or its strings by Append.
func BenchmarkEncode(b *testing.B) {
	block := &Block{Partition: 3}
	fill(b, block, benchEntries(b))
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			block.Encode()
		}
	})
	b.Run("driver", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			must(b, encodeByDriver(block))
		}
	})
}

func encodeByDriver(b *Block) error {
	values := b.values()
	for i, v := range values {
		switch v := v.(type) {
		case *words:
			values[i] = v.strings()
		case plain:
			values[i] = v.strings()
		}
	}
	var columns []column.Interface
	var err error
	columns, err = eventsTable.columnsOf(values)
	_ = columns
	return err
}
