package projections_test

import (
	"testing"

	"github.com/receiptd/receiptd/projections"
)

// BenchmarkQueryBesideDirtyState guards the cost of a query while uncommitted changes take more
// memory than the cache may: none of them can be evicted, so looking for what can must not cost
// time again and again.
func BenchmarkQueryBesideDirtyState(b *testing.B) {
	setup, batches := benchEntries(b, 100)
	part, err := projections.Open(0, memory{}, projections.Options{CacheBytes: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := part.Apply(projections.Decoded{Sequence: 1, At: 1, Batch: setup}); err != nil {
		b.Fatal(err)
	}
	for i, batch := range batches {
		if _, err := part.Apply(projections.Decoded{Sequence: uint64(i) + 2, At: 2, Batch: batch}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := part.IsMember("acme#chat", "278900000000000", "nobody"); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
