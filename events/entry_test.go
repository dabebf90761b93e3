package events

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecodeEntryReadsSingleEvents(t *testing.T) {
	var b Batch
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 16).Draw(t, "partitions")
		want := drawPublic(t)
		subject, err := singleSubject(Partition(&want, partitions), want.Kind, want.App)
		if err != nil {
			t.Fatal(err)
		}
		data := AppendJSON(nil, &want)
		if rapid.Bool().Draw(t, "protobuf") {
			data = AppendEventList(nil, []Event{want})
		}
		if err := DecodeEntry(subject, data, "", partitions, &b); err != nil {
			t.Fatalf("%s %q: %v", subject, data, err)
		}
		clear(data) // the batch may keep nothing of it
		var got Event
		if b.Len() == 1 {
			b.Event(0, &got)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\ngot  %+v\nwant %+v", subject, got, want)
		}
	})
}

func TestDecodeEntryReadsBatches(t *testing.T) {
	want := []Event{
		{App: "acme#chat", Kind: MessageSent, Message: "m", User: "a", Group: "g", Receipt: true},
		{App: "acme#chat", Kind: MessageRead, Message: "m", User: "b", Group: "g"},
	}
	var builder Builder
	for i := range want {
		builder.Add(&want[i])
	}
	var b Batch
	if err := DecodeEntry(BatchSubject(3), builder.Encode(nil), "", 4, &b); err != nil {
		t.Fatal(err)
	}
	got := make([]Event, b.Len())
	for i := range got {
		b.Event(i, &got[i])
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// An app may be called as what stands for a lost entry is.
func TestDecodeEntryOfAnAppCalledLost(t *testing.T) {
	e := Event{App: "acme#lost", Kind: MessageRead, Message: "m", User: "u", Group: "g"}
	subject, err := singleSubject(0, e.Kind, e.App)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	if err := DecodeEntry(subject, AppendJSON(nil, &e), "", 1, &b); err != nil || b.Len() != 1 {
		t.Errorf("%d events, %v", b.Len(), err)
	}
	if err := DecodeEntry(LostSubject(7), []byte("why"), "", 8, &b); !errors.Is(err, ErrLost) {
		t.Errorf("what stands for a lost entry: %v", err)
	}
}

func TestDecodeEntrySaysWhatIsWrong(t *testing.T) {
	const partitions = 4
	read := Event{App: "acme#chat", Kind: MessageRead, Message: "m", User: "u", Group: "g"}
	here := Partition(&read, partitions)
	subject, err := singleSubject(here, MessageRead, "acme#chat")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := singleSubject((here+1)%partitions, MessageRead, "acme#chat")
	if err != nil {
		t.Fatal(err)
	}
	text := string(AppendJSON(nil, &read))
	for _, test := range []struct{ subject, data, want string }{
		{"receipts.v1.0.x", text, `events: malformed: events: bad subject: "receipts.v1.0.x": unknown kind`},
		{BatchSubject(here), text, ""},
		{subject, "", "events: malformed: events: the body holds no event"},
		{subject, text + text, "events: malformed: event 0: malformed JSON: '{' after the event"},
		{subject, "{}", "events: malformed: event 0: type: missing"},
		{subject, "[" + text + "]", ""},
		{subject, string(AppendEventList(nil, []Event{read, read})), "events: malformed: more than one event"},
		{subject, strings.Replace(text, `"m"`, `""`, 1), "events: malformed: event 0: message: empty"},
		{subject, `{"type":"message.recalled","message":"m","user":"u","group":"g"}`,
			"events: malformed: a message.recalled event on the subject of message.read"},
		{elsewhere, text, "events: malformed: an event of partition 1 of 4 on a subject of partition 2"},
	} {
		var b Batch
		b.SetEvents([]Event{read})
		err := DecodeEntry(test.subject, []byte(test.data), "", partitions, &b)
		if !errors.Is(err, ErrMalformed) || test.want != "" && err.Error() != test.want {
			t.Errorf("%s %q:\ngot  %v\nwant %s", test.subject, test.data, err, test.want)
		}
		if b.Len() != 0 {
			t.Errorf("%s %q: the batch has %d events", test.subject, test.data, b.Len())
		}
	}
}

func BenchmarkDecodeEntrySingle(b *testing.B) {
	e := Event{App: "acme#chat", Kind: MessageRead, Message: "m-000123", User: "u-00042", Group: "g-007"}
	subject, err := singleSubject(Partition(&e, 4), e.Kind, e.App)
	if err != nil {
		b.Fatal(err)
	}
	data := AppendJSON(nil, &e)
	b.ReportAllocs()
	var batch Batch
	for b.Loop() {
		if err := DecodeEntry(subject, data, "", 4, &batch); err != nil {
			b.Fatal(err)
		}
	}
}
