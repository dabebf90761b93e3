package events

import (
	"slices"
	"strings"
	"testing"
)

// Names of any length become ids, different ones of different names.
func TestEventIDOf(t *testing.T) {
	long := strings.Repeat("x", MaxEventIDBytes)
	for _, name := range []string{"", "m1/cleo/read", "é", long} {
		if got := EventIDOf(name); got != name {
			t.Errorf("%q became %q", name, got)
		}
	}
	ids := []string{EventIDOf(long + "1"), EventIDOf(long + "2"), EventIDOf("a\nb"), EventIDOf("\xff")}
	for i, id := range ids {
		if eventIDProblem(id) != "" || slices.Index(ids, id) != i {
			t.Errorf("ids %q", ids)
		}
	}
}

func TestNameEvents(t *testing.T) {
	for _, key := range []string{"k", strings.Repeat("k", 56), strings.Repeat("k", 57), strings.Repeat("k", 300), "\xff"} {
		for _, first := range []int{0, 9_999_998, 1 << 53} {
			testNameEvents(t, key, first)
		}
	}
}

func testNameEvents(t *testing.T, key string, first int) {
	named, again := make([]Event, 3), make([]Event, 3)
	named[1].EventID, again[1].EventID = "own", "own"
	NameEventsFrom(key, first, named)
	NameEventsFrom(key, first, again)
	for i := range named {
		if bad := eventIDProblem(named[i].EventID); bad != "" || named[i].EventID != again[i].EventID {
			t.Errorf("key of %d bytes, from %d: %q, then %q: %s", len(key), first, named[i].EventID, again[i].EventID, bad)
		}
	}
	if named[1].EventID != "own" || named[0].EventID == named[2].EventID {
		t.Errorf("key of %d bytes: %+v", len(key), named)
	}
	other := make([]Event, 1)
	if NameEventsFrom(key+"'", first, other); other[0].EventID == named[0].EventID {
		t.Errorf("two keys make the same id, %q", other[0].EventID)
	}
}

// What a producer named a message over NATS is its id, unless it has one.
func TestDecodeEntryTakesTheNameOfTheMessage(t *testing.T) {
	e := Event{App: "acme#chat", Kind: GroupJoined, Group: "g", User: "ann"}
	subject, err := singleSubject(Partition(&e, 4), e.Kind, e.App)
	if err != nil {
		t.Fatal(err)
	}
	own := e
	own.EventID = "own"
	for _, c := range []struct {
		event    Event
		id, want string
	}{{e, "", ""}, {e, "name", "name"}, {own, "name", "own"}, {e, strings.Repeat("n", 65), EventIDOf(strings.Repeat("n", 65))}} {
		var b Batch
		var got Event
		if err := DecodeEntry(subject, AppendJSON(nil, &c.event), c.id, 4, &b); err != nil {
			t.Fatal(err)
		}
		if b.Event(0, &got); got.EventID != c.want {
			t.Errorf("named %q: id %q, want %q", c.id, got.EventID, c.want)
		}
	}
	// The publisher's name of a batch is none of its events.
	var builder Builder
	builder.Add(&e)
	var b Batch
	if err := DecodeEntry(BatchSubject(3), builder.Encode(nil), "name", 4, &b); err != nil || len(b.EventIDs) > 0 {
		t.Errorf("%v, ids %q", err, b.EventIDs)
	}
}
