package events

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// wellFormed is a payload in the text form of protobuf: two reads of a group message, one of a
// single-chat message with a content, a member's new role. The table below breaks it.
const wellFormed = `
run_kinds: [KIND_MESSAGE_READ, KIND_GROUP_ROLE] run_lengths: [3, 1]
message_refs: [0, 0] message_runs: [2, 1] conversation_refs: [0, 0, 2] user_refs: [0, 0, 0, 0, 1]
sides: "\001" apps: "a#b" conversations: [1, 2]
groups { prefixes: "" digits: [3] run_shapes: [1] run_lengths: [1] numbers: [7] }
messages { run_shapes: [0] run_lengths: [2] lengths: [1, 2] text: "mnn" }
users { prefixes: ["u", ""] digits: [4, 32] run_shapes: [1, 0, 2] run_lengths: [1, 2, 1] numbers: [17] lengths: [1, 1] text: "ab" uuids: "0123456789abcdef" }
times: [0, 3, 0, 2] contents: "ok" content_gaps: [2] content_refs: [0]
extras { role: ROLE_ADMIN }`

// entryOf makes an entry of a payload in text form.
func entryOf(t testing.TB, payload string) []byte {
	t.Helper()
	batch := newMessage(t, "Batch")
	if err := prototext.Unmarshal([]byte(payload), batch); err != nil {
		t.Fatalf("%v in %s", err, payload)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	return appendBytes(appendUint(nil, entryFieldVersion, entryVersion), entryFieldPayload, raw)
}

func TestDecodeOfAnotherEncoder(t *testing.T) {
	var b Batch
	if err := b.Decode(entryOf(t, wellFormed)); err != nil {
		t.Fatal(err)
	}
	sameEvents(t, eventsOf(&b), []Event{
		{App: "a#b", Kind: MessageRead, Group: "996", User: "u9991", Message: "m"},
		{App: "a#b", Kind: MessageRead, Group: "996", User: "a", Message: "m", Time: 1},
	})
}

func TestDecodeNamesWhatIsMalformed(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"no such kind", "KIND_GROUP_ROLE", "13", "batch: events: unknown version: kind 13"},
		{"kind of nothing", "KIND_GROUP_ROLE", "0", "batch: events: unknown version: kind 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := strings.Replace(wellFormed, c.old, c.new, 1)
			if broken == wellFormed {
				t.Fatalf("%q is not in the payload", c.old)
			}
			checkRefused(t, entryOf(t, broken), c.want)
		})
	}
}

func checkRefused(t *testing.T, entry []byte, want string) {
	t.Helper()
	b := Batch{Kinds: []Kind{MessageRead}}
	err := b.Decode(entry)
	if got := fmt.Sprint(err); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
		t.Errorf("%v wraps no error of this package", err)
	}
	if b.Len() != 0 || len(b.Users) != 0 {
		t.Errorf("%d events left in the batch", b.Len())
	}
}

var _ = protowire.AppendTag
