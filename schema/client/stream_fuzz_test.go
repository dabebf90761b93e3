package client

import (
	"bytes"
	"context"
	"testing"
)

// FuzzStreamAnswers: whatever a server answers to a stream, events are settled in their order, each
// once, with as many outcomes as they are events where these were asked for, and none that was not
// written.
func FuzzStreamAnswers(f *testing.F) {
	f.Add([]byte("{\"accepted\":1}\n\n{\"accepted\":3,\"positions\":[{\"partition\":0,\"sequence\":7}]}\n"), false)
	f.Add([]byte("{\"accepted\":3,\"outcomes\":[{\"outcome\":\"applied\"},{\"outcome\":\"parked\"},{\"outcome\":\"applied\"}]}\n"), true)
	f.Add([]byte("{\"accepted\":9}\n{\"accepted\":-9}\n"), false)
	f.Add([]byte(`{"error":{"code":"invalid_event","index":1}}`), false)
	f.Add([]byte(`{"error":{"code":"invalid_event","index":-1}}`), true)
	f.Add([]byte(`{"accepted":1,"error":{"code":"overloaded"}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, applied bool) {
		q := &queue{client: &Client{}, applied: applied, wake: make(chan struct{}, 1)}
		s := &Stream{queue: q, written: 2}
		var items []*item
		for _, width := range []int{1, 2, 1} { // the last is not written
			x := &item{line: []byte("x"), width: width, ticket: &Ticket{done: make(chan struct{})}}
			items = append(items, x)
			q.list = append(q.list, x)
			q.events += width
			q.bytes += len(x.line)
		}
		_ = s.read(q, bytes.NewReader(body))
		settled, ended := 0, false
		for i, x := range items {
			select {
			case <-x.ticket.Done():
			default:
				ended = true
				continue
			}
			settled++
			outcomes, err := x.ticket.Wait(context.Background())
			switch {
			case ended || i >= s.written:
				t.Errorf("%q: event %d is settled", body, i)
			case applied && err == nil && len(outcomes) != x.width:
				t.Errorf("%q: %d outcomes of %d events", body, len(outcomes), x.width)
			}
		}
		if q.first != settled || len(q.list) != len(items)-settled || q.events < 1 || q.bytes < 1 {
			t.Errorf("%q: %d settled, %d left the queue, %d events of %d bytes in it", body, settled, q.first, q.events, q.bytes)
		}
	})
}
