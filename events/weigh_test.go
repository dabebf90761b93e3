package events

import (
	"fmt"
	"testing"
)

// What is decoded never takes more than was said before it was decoded, and usual events not much
// less.
func TestDecodedBytesAreKnownBefore(t *testing.T) {
	many := make([]string, 3000)
	for i := range many {
		many[i] = fmt.Sprint(i % 10)
	}
	usual := make([]Event, 1000)
	for i := range usual {
		usual[i] = Event{Kind: MessageRead, Message: fmt.Sprint("message-", i), User: fmt.Sprint("user-", i), Group: "a group", Time: 1, EventID: fmt.Sprint(i)}
	}
	for name, list := range map[string][]Event{
		"usual":    usual,
		"smallest": {{Kind: GroupDissolved, Group: "g"}, {Kind: GroupDissolved, Group: "h"}},
		"members":  {{Kind: GroupCreated, Group: "g", User: "o", Members: many}},
		"text":     {{Kind: MessageRead, Message: "m", User: "u", Group: "g", Content: "{{{{,,,,"}},
	} {
		var ndjson []byte
		for i := range list {
			ndjson = append(AppendJSON(ndjson, &list[i]), '\n')
		}
		listed := AppendEventList(nil, list)
		var taken int64
		count := func(_ int, e *Event) error {
			taken += EventBytes + nameBytes*int64(len(e.Members)+len(e.Admins))
			return nil
		}
		var d Decoder
		if err := d.Decode(ndjson, FormatNDJSON, count); err != nil {
			t.Fatal(err)
		}
		for format, said := range map[string]int64{
			"NDJSON": FormatNDJSON.DecodedBytes(ndjson, 10_000), "protobuf": EventListBytes(listed, 10_000),
		} {
			if said < taken || name == "usual" && said > taken {
				t.Errorf("%s, %s: %d bytes, %d were said", name, format, taken, said)
			}
		}
		if said := FormatNDJSON.DecodedBytes(ndjson, 1); len(list) > 2 && said >= taken {
			t.Errorf("%s: %d bytes for one event", name, said)
		}
	}
	// One that names many messages is as many events.
	var d Decoder
	var taken int64
	body := []byte(`{"type":"message.read","user":"u","group":"g","messages":["1","2","3","4"]}`)
	if err := d.Decode(body, FormatNDJSON, func(int, *Event) error { taken += EventBytes; return nil }); err != nil || taken != 4*EventBytes {
		t.Fatalf("%d bytes, %v", taken, err)
	}
	if said := FormatNDJSON.DecodedBytes(body, 10_000); said < taken {
		t.Errorf("%d bytes of events, %d were said", taken, said)
	}
}

func BenchmarkDecodedBytes(b *testing.B) {
	var body, listed []byte
	for i := range 1000 {
		e := Event{Kind: MessageRead, Message: fmt.Sprint("1034958273650", i), User: fmt.Sprint("user-", i), Group: "2394857230948"}
		body = append(AppendJSON(body, &e), '\n')
		listed = AppendEventList(listed, []Event{e})
	}
	b.Run("NDJSON", func(b *testing.B) {
		for b.Loop() {
			FormatNDJSON.DecodedBytes(body, 10_000)
		}
	})
	b.Run("protobuf", func(b *testing.B) {
		for b.Loop() {
			EventListBytes(listed, 10_000)
		}
	})
}
