package events

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// decodeEventList collects the events; they alias data.
func decodeEventList(data []byte) (evs []Event, err error) {
	err = DecodeEventListOf("", data, func(i int, e *Event) error {
		if i != len(evs) {
			return errors.New("index out of order")
		}
		evs = append(evs, *e)
		return nil
	})
	return evs, err
}

func TestEventListRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		evs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
			e := drawPublic(t)
			e.App = ""
			return e
		}), 1, 20).Draw(t, "events")
		got, err := decodeEventList(AppendEventList(nil, evs))
		if err != nil {
			t.Fatal(err)
		}
		sameEvents(t, got, evs)
	})
}

func TestEventListNamesWhatIsWrong(t *testing.T) {
	read := AppendEventList(nil, []Event{{Kind: MessageRead, Group: "g", User: "u", Message: "m"}})
	event := func(fields ...[]byte) []byte {
		var body []byte
		for _, f := range fields {
			body = append(body, f...)
		}
		return appendBytes(slices.Clone(read), 1, body)
	}
	number := func(field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
	}
	text := func(field protowire.Number, v string) []byte { return appendString(nil, field, v) }
	kind := number(eventKind, uint64(MessageRead))

	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":           {nil, "events: the body holds no event"},
		"no protobuf":       {[]byte("{\"type\":"), "event 0: malformed: field 15: wire type 3"},
		"not an event":      {slices.Concat(read, number(1, 7)), "event 1: not an event: field 1 of wire type 0"},
		"another field":     {slices.Concat(read, text(2, "x")), "event 1: not an event: field 2 of wire type 2"},
		"cut short":         {read[:len(read)-1], "event 0: malformed: field 1: unexpected EOF"},
		"empty":             {event(), "event 1: kind: unknown kind 0"},
		"unknown kind":      {event(number(eventKind, 13)), "event 1: kind: 13 is not a kind that producers may send"},
		"kind above a byte": {event(number(eventKind, 259)), "event 1: kind: 259 is not a kind that producers may send"},
		"internal kind":     {event(number(eventKind, uint64(StatisticSeen))), "event 1: kind: 12 is not a kind that producers may send"},
		"unknown field":     {event(kind, text(17, "x")), "event 1: unknown field 17"},
		"large field":       {event(kind, text(1<<20, "x")), "event 1: unknown field 1048576"},
		"wrong wire type":   {event(kind, number(eventGroup, 5)), "event 1: group: field 4 has wire type 0 instead of 2"},
		"fixed wire type":   {event(kind, protowire.AppendFixed64(protowire.AppendTag(nil, eventTime, protowire.Fixed64Type), 5)), "event 1: malformed: field 12: wire type 1"},
		"field twice":       {event(kind, text(eventUser, "u"), text(eventUser, "v")), "event 1: user: field 3 occurs twice"},
		"missing message":   {event(kind, text(eventUser, "u"), text(eventGroup, "g")), "event 1: message: missing"},
		"missing id":        {event(number(eventKind, 1), text(eventUser, "u"), text(eventGroup, "g")), "event 1: message: missing"},
		"missing sender":    {event(number(eventKind, 1), text(eventMessage, "u"), text(eventGroup, "g")), "event 1: user: missing"},
		"long id":           {event(kind, text(eventMessage, strings.Repeat("m", 129)), text(eventUser, "u"), text(eventGroup, "g")), "event 1: message: 129 bytes, at most 128"},
		"not UTF-8":         {event(kind, text(eventMessage, "\xff"), text(eventUser, "u"), text(eventGroup, "g")), "event 1: message: not valid UTF-8"},
		"unknown role":      {event(number(eventKind, 9), text(eventUser, "u"), text(eventGroup, "g"), number(eventRole, 4)), "event 1: role: unknown role 4"},
		"negative time":     {event(kind, text(eventMessage, "m"), text(eventUser, "u"), text(eventGroup, "g"), number(eventTime, 1<<63)), "event 1: time: not between the years 1970 and 9999"},
		"many members":      {event(number(eventKind, 6), []byte(strings.Repeat("\x52\x00", MaxFirstMembers+1))), "event 1: members: more than 5000 members and admins"},
	} {
		t.Run(name, func(t *testing.T) {
			evs, err := decodeEventList(c.data)
			if got := errorText(err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			bad, ok := errors.AsType[*EventError](err)
			if c.data != nil && (!ok || bad.Index != len(evs)) {
				t.Errorf("%#v after %d events", err, len(evs))
			}
		})
	}
}

func TestEventListReturnsTheErrorOfItsCallback(t *testing.T) {
	list := AppendEventList(nil, trafficShapes[0].traffic(1, 3))
	stop := errors.New("stop")
	calls := 0
	err := DecodeEventListOf("", list, func(int, *Event) error { calls++; return stop })
	if err != stop || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestEventListDecodesWithoutAllocating(t *testing.T) {
	list := AppendEventList(nil, trafficShapes[0].traffic(1, 1000))
	n := testing.AllocsPerRun(10, func() {
		if err := DecodeEventListOf("", list, func(int, *Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 { // the one Event
		t.Errorf("%v allocations for 1000 events", n)
	}
}

// FuzzEventListDecode has what is not refused encoded again, which leaves the same events.
func FuzzEventListDecode(f *testing.F) {
	f.Add(golden(f, "eventlist"))
	f.Add(AppendEventList(nil, trafficShapes[0].traffic(1, 3)))
	f.Fuzz(func(t *testing.T, data []byte) {
		evs, err := decodeEventList(data)
		if err != nil {
			if _, ok := errors.AsType[*EventError](err); !ok && err != ErrNoEvents {
				t.Fatalf("%#v", err)
			}
			return
		}
		for i := range evs {
			if err := evs[i].Validate(); err != nil || evs[i].Kind.Internal() || evs[i].App != "" {
				t.Fatalf("event %d: %+v: %v", i, evs[i], err)
			}
		}
		again, err := decodeEventList(AppendEventList(nil, evs))
		if err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		sameEvents(t, again, evs)
	})
}
