package overload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// Each request sends messages to the one group of its tenant, and each message is read by the next
// members in order, so that what must come of a request that was accepted is known from its number:
// no record of the events is needed.
const (
	group       = "crowd"
	messageMost = 1000 // events of one message: it and its readers
	idDigits    = 16
)

// traffic makes bodies of one size.
type traffic struct {
	batch int
	// message is the NDJSON of one message and its readers, with ids of zeroes; places are where
	// the ids begin.
	message []byte
	places  []int
	// events of a message, and how many messages a request has.
	events, messages int
}

func newTraffic(batch int) *traffic {
	t := &traffic{batch: batch, events: min(batch, messageMost)}
	t.messages = batch / t.events
	id := bytes.Repeat([]byte("0"), idDigits)
	for i := range t.events {
		line := `{"type":"message.read","message":"`
		if i == 0 {
			line = `{"type":"message.sent","id":"`
		}
		t.message = append(t.message, line...)
		t.places = append(t.places, len(t.message))
		t.message = append(t.message, id...)
		if i == 0 {
			t.message = append(t.message, `","from":"author","group":"`+group+`","receipt":true}`+"\n"...)
		} else {
			t.message = fmt.Appendf(t.message, `","user":"%s","group":"%s"}`+"\n", member(i), group)
		}
	}
	return t
}

// readers is how many have read each message in the end.
func (t *traffic) readers() int { return t.events - 1 }

// size is how many bytes a body has.
func (t *traffic) size() int { return t.messages * len(t.message) }

func member(i int) string { return fmt.Sprintf("member-%04d", i) }

// id names a message of a request, by the numbers of both and of its sender.
func id(sender, request, message int) string {
	return fmt.Sprintf("%05d%08d%03d", sender, request, message)
}

// pieces is the memory of what is being written.
var pieces = sync.Pool{New: func() any { return new([]byte) }}

// write writes the body of a request, some KiB at a time.
func (t *traffic) write(w io.Writer, sender, request int) error {
	const most = 32 << 10
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	for m := range t.messages {
		text := id(sender, request, m)
		for from, next := 0, 0; from < len(t.message); {
			to := min(from+most, len(t.message))
			// Up to the end of a line: an id is not cut in two.
			to = from + bytes.LastIndexByte(t.message[from:to], '\n') + 1
			*piece = append((*piece)[:0], t.message[from:to]...)
			for ; next < len(t.places) && t.places[next] < to; next++ {
				copy((*piece)[t.places[next]-from:], text)
			}
			if _, err := w.Write(*piece); err != nil {
				return err
			}
			from = to
		}
	}
	return nil
}

// setup is the body that makes the group of a tenant.
func setup() []byte {
	var members []string
	for i := range messageMost {
		members = append(members, member(i))
	}
	body, _ := json.Marshal(map[string]any{"type": "group.created", "group": group, "owner": "author", "members": members})
	return body
}

// path is where an app's calls are.
func path(tenant int) string { return "/v1/apps/overload/" + tenantName(tenant) }

// quietTenant has the number after the others.
func tenantName(tenant int) string { return "tenant" + strconv.Itoa(tenant) }
