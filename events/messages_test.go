package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// manyRead is a message.read of many messages, as JSON and as a protobuf Event.
func manyRead(ids []string) (json string, list []byte) {
	e := Event{Kind: MessageRead, User: "ben", Group: "team", Content: "all of it", EventID: "x", Time: 5}
	data := appendEvent(nil, &e)
	for _, id := range ids {
		data = protowire.AppendString(protowire.AppendTag(data, eventMessages, protowire.BytesType), id)
	}
	json = `{"type":"message.read","messages":["` + strings.Join(ids, `","`) + `"],"user":"ben","group":"team","content":"all of it","event_id":"x","time":5}`
	return json, protowire.AppendBytes(protowire.AppendTag(nil, eventListEvents, protowire.BytesType), data)
}

// TestReadOfManyMessagesIsAsManyEvents, in every format and at every door.
func TestReadOfManyMessagesIsAsManyEvents(t *testing.T) {
	var ids []string
	var want []Event
	for i := range MaxMessagesRead {
		ids = append(ids, fmt.Sprintf("m%03d", i))
		want = append(want, Event{Kind: MessageRead, Message: ids[i], User: "ben", Group: "team", Content: "all of it", EventID: "x", Time: 5})
	}
	one := `{"type":"message.read","message":"m","user":"ben","group":"team"}`
	text, list := manyRead(ids)
	for name, decode := range map[string]func(f func(int, *Event) error) error{
		"NDJSON": func(f func(int, *Event) error) error {
			return new(Decoder).Decode([]byte(one+"\n"+text+"\n"+one), FormatNDJSON, f)
		},
		"array": func(f func(int, *Event) error) error {
			return new(Decoder).Decode([]byte("["+one+","+text+","+one+"]"), FormatJSON, f)
		},
		"protobuf": func(f func(int, *Event) error) error {
			single := AppendEventList(nil, []Event{{Kind: MessageRead, Message: "m", User: "ben", Group: "team"}})
			return DecodeEventListOf("", slices.Concat(single, list, single), f)
		},
	} {
		var got []Event
		var indices []int
		err := decode(func(i int, e *Event) error {
			got, indices = append(got, *e), append(indices, i)
			return nil
		})
		if err != nil || len(got) != len(want)+2 {
			t.Fatalf("%s: %d events, %v", name, len(got), err)
		}
		for i := range want {
			if x := &got[i+1]; indices[i+1] != 1 || x.Message != want[i].Message || x.User != "ben" || x.Group != "team" || x.Content != want[i].Content || x.EventID != "x" || x.Time != 5 {
				t.Errorf("%s: event %d of %d is %+v", name, i, indices[i+1], *x)
			}
		}
		if last := got[len(got)-1]; last.Message != "m" || last.Content != "" || indices[len(got)-1] != 2 {
			t.Errorf("%s: the event after it is %+v", name, last)
		}
	}
	subject := fmt.Sprintf("receipts.v1.%d.message-read.o.a", Partition(&Event{App: "o#a", Group: "team"}, 3))
	for _, data := range [][]byte{[]byte(text), list} {
		var b Batch
		if err := DecodeEntry(subject, data, "name", 3, &b); err != nil || b.Len() != len(ids) {
			t.Fatalf("entry: %d events, %v", b.Len(), err)
		}
		var e Event
		if b.Event(255, &e); e.App != "o#a" || e.Message != "m255" || e.EventID != "x" {
			t.Errorf("entry: %+v", e)
		}
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	over := strings.Repeat(`"m",`, MaxMessagesRead) + `"m"`
	for body, want := range map[string]string{
		`{"type":"message.read","messages":[],"user":"ben","group":"g"}`:                  "event 0: messages: empty",
		`{"type":"message.read","messages":[` + over + `],"user":"ben","group":"g"}`:      "event 0: messages: more than 256 messages",
		`{"type":"message.read","messages":["m"],"message":"m","user":"ben","group":"g"}`: "event 0: messages: not allowed beside message",
		`{"type":"message.read","messages":["m",""],"user":"ben","group":"g"}`:            "event 0: messages[1]: empty",
		`{"type":"message.read","messages":"m","user":"ben","group":"g"}`:                 "event 0: messages: a string, not an array of strings",
		`{"type":"message.read","messages":["m",7],"user":"ben","group":"g"}`:             "event 0: messages[1]: a number, not a string",
		`{"type":"message.delivered","messages":["m"],"user":"ben","peer":"ann"}`:         "event 0: messages: not allowed in message.delivered",
		`{"type":"message.recalled","messages":["m"],"user":"ben","group":"g"}`:           "event 0: messages: not allowed in message.recalled",
		`{"type":"group.joined","messages":["m"],"user":"ben","group":"g"}`:               "event 0: messages: not allowed in group.joined",
	} {
		err := new(Decoder).Decode([]byte(body), FormatJSON, func(int, *Event) error {
			t.Errorf("%.100s: an event", body)
			return nil
		})
		if err == nil || err.Error() != want {
			t.Errorf("%.100s: %v, want %s", body, err, want)
		}
	}
	_, list := manyRead(slices.Repeat([]string{"m"}, MaxMessagesRead+1))
	err := DecodeEventListOf("", list, func(int, *Event) error { return errors.New("an event") })
	if want := "event 0: messages: more than 256 messages"; err == nil || err.Error() != want {
		t.Errorf("protobuf: %v, want %s", err, want)
	}
	if err := (&Event{Kind: MessageRead, User: "ben", Group: "g"}).Validate(); err == nil {
		t.Error("a read of no message is valid")
	}
}

// TestReceiptsOfAUser: whoever decodes for a user need not be told who reads, and is told if it is
// somebody else.
func TestReceiptsOfAUser(t *testing.T) {
	list := []Event{
		{Kind: MessageRead, Message: "m", Group: "team"},
		{Kind: MessageDelivered, Message: "m", Peer: "ann"},
		{Kind: ConversationRead, Group: "team"},
		{Kind: MessageRead, Message: "m", Group: "team", User: "cleo"},
	}
	users := func(decode func(f func(int, *Event) error) error) (users []string) {
		t.Helper()
		if err := decode(func(_ int, e *Event) error { users = append(users, e.User); return nil }); err != nil {
			t.Error(err)
		}
		return users
	}
	want := []string{"ben", "ben", "ben", "cleo"}
	var lines []byte
	for i := range list {
		lines = append(AppendJSON(lines, &list[i]), '\n')
	}
	if got := users(func(f func(int, *Event) error) error {
		return (&Decoder{User: "ben"}).Decode(lines, FormatNDJSON, f)
	}); !slices.Equal(got, want) {
		t.Errorf("JSON: %v", got)
	}
	if got := users(func(f func(int, *Event) error) error {
		return DecodeEventListOf("ben", AppendEventList(nil, list), f)
	}); !slices.Equal(got, want) {
		t.Errorf("protobuf: %v", got)
	}
	for _, body := range []string{
		`{"type":"message.sent","id":"m","group":"g"}`, `{"type":"group.joined","group":"g"}`, `{"type":"message.recalled","message":"m","group":"g"}`,
		`{"type":"conversation.read","peer":"ben"}`, `{"type":"message.read","message":"m","user":"","group":"g"}`,
	} {
		if err := (&Decoder{User: "ben"}).Decode([]byte(body), FormatJSON, func(int, *Event) error { return nil }); err == nil {
			t.Errorf("%s is taken", body)
		}
	}
	if err := new(Decoder).Decode(lines, FormatNDJSON, func(int, *Event) error { return nil }); err == nil {
		t.Error("a read by nobody is taken")
	}
}
