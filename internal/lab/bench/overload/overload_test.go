package overload

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// What a request brings is known from its numbers: its messages have ids of their own, each is sent
// once and read by so many, and a body has the size that was announced.
func TestBodiesAreKnownByTheirNumbers(t *testing.T) {
	for _, batch := range []int{1, 10, 1000, 10_000} {
		tr := newTraffic(batch)
		var b bytes.Buffer
		if err := tr.write(&b, 7, 12); err != nil {
			t.Fatal(err)
		}
		if b.Len() != tr.size() {
			t.Errorf("%d bytes, %d were announced", b.Len(), tr.size())
		}
		sent, readers, n := []string{}, map[string]map[string]bool{}, 0
		var d events.Decoder
		err := d.Decode(b.Bytes(), events.FormatNDJSON, func(_ int, e *events.Event) error {
			n++
			message := strings.Clone(e.Message)
			if e.Kind == events.MessageSent {
				sent, readers[message] = append(sent, message), map[string]bool{}
			} else {
				readers[message][strings.Clone(e.User)] = true
			}
			return nil
		})
		if err != nil || n != batch || len(sent) != tr.messages {
			t.Fatalf("%d events, %d messages: %v", n, len(sent), err)
		}
		for m, message := range sent {
			if message != id(7, 12, m) || len(readers[message]) != tr.readers() {
				t.Errorf("message %s has %d readers, not %d", message, len(readers[message]), tr.readers())
			}
		}
		if strings.Count(fmt.Sprint(sent), id(7, 12, 0)) != 1 || slices.Contains(sent, id(7, 13, 0)) {
			t.Errorf("ids %v", sent[:1])
		}
		if !bytes.Contains(setup(), []byte(member(tr.readers()))) && tr.readers() > 0 {
			t.Errorf("%s is no member", member(tr.readers()))
		}
	}
}
