package events

import (
	"bytes"
	"fmt"
	"testing"
)

// receiptLines is a body like that of a busy backend: group reads with plain ids.
func receiptLines(n int) []byte {
	var body bytes.Buffer
	for i := range n {
		fmt.Fprintf(&body, `{"type":"message.read","message":"m-%06d","user":"u-%05d","group":"g-%03d"}`+"\n", i/40, i%5000, i%100)
	}
	return body.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	const events = 1000
	lines := receiptLines(events)
	array := append(append([]byte{'['}, bytes.ReplaceAll(bytes.TrimSpace(lines), []byte("\n"), []byte(","))...), ']')
	for _, bench := range []struct {
		name   string
		format Format
		body   []byte
	}{
		{"ndjson", FormatNDJSON, lines},
		{"array", FormatJSON, array},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.body)))
			b.ReportAllocs()
			var d Decoder
			n := 0
			for b.Loop() {
				if err := d.Decode(bench.body, bench.format, func(int, *Event) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := Event{Kind: MessageRead, Message: "m-000123", User: "u-00042", Group: "g-007", Time: 1700000000123}
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = AppendJSON(dst[:0], &e)
	}
}

func BenchmarkValidate(b *testing.B) {
	e := Event{Kind: MessageRead, Message: "m-000123", User: "u-00042", Group: "g-007"}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPartition(b *testing.B) {
	e := Event{App: "acme#chat", Kind: MessageRead, Message: "m-000123", User: "u-00042", Group: "g-007"}
	b.ReportAllocs()
	for b.Loop() {
		Partition(&e, 8)
	}
}
