package projections_test

import (
	"math"
	"testing"

	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/store"
)

// BenchmarkReadRates guards the cost of a query by sender, the most expensive kind: one op looks at
// each of 2400 stored cohorts of a day, with two million receipts, twice.
func BenchmarkReadRates(b *testing.B) {
	setup, batches := benchEntries(b, 500)
	state, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer state.Close()
	part, err := projections.Open(0, state, projections.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := part.Apply(projections.Decoded{Sequence: 1, At: 1, Batch: setup}); err != nil {
		b.Fatal(err)
	}
	const day = 24 * projections.HourMillis
	for i, batch := range batches {
		at := int64(i) * day / int64(len(batches))
		if _, err := part.Apply(projections.Decoded{Sequence: uint64(i) + 2, At: at, Batch: batch}); err != nil {
			b.Fatal(err)
		}
	}
	c, err := part.Capture()
	if err == nil {
		err = state.Commit(c)
	}
	if err != nil {
		b.Fatal(err)
	}
	part.Committed(c)
	q := projections.RateQuery{App: "acme#chat", To: math.MaxInt64, By: projections.BySender, Limit: 100}
	b.ReportAllocs()
	for b.Loop() {
		s := projections.NewRateScan(q)
		for s.Next() {
			for done := false; !done; {
				if done, err = s.Step(part); err != nil {
					b.Fatal(err)
				}
			}
		}
		page, err := s.Page()
		if err != nil || len(page.Rows) != 100 {
			b.Fatal(len(page.Rows), err)
		}
	}
}
