package events

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawBatch draws events as a batch may hold them: of any kind, with much repetition.
func drawBatch(t *rapid.T) []Event {
	pool := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
		e := drawEvent(t, MessageSent, kindEnd-1)
		if rapid.Bool().Draw(t, "numeric ids") {
			numeric(t, &e)
		}
		return e
	}), 1, 12).Draw(t, "pool")
	n := rapid.IntRange(0, 60).Draw(t, "events")
	var evs []Event
	for range n {
		e := rapid.SampledFrom(pool).Draw(t, "event")
		if rapid.Bool().Draw(t, "another user") && e.User != "" {
			e.User = rapid.StringMatching(`user[0-9]{4}`).Draw(t, "user")
		}
		repeat := rapid.SampledFrom([]int{1, 1, 1, 5, 200}).Draw(t, "repeat")
		for range repeat {
			evs = append(evs, e)
		}
	}
	return evs
}

// numeric gives e ids that the tables keep as numbers.
func numeric(t *rapid.T, e *Event) {
	if e.Message != "" {
		e.Message = rapid.StringMatching(`[1-9][0-9]{18}`).Draw(t, "message")
	}
	if e.Group != "" {
		e.Group = rapid.StringMatching(`(group-)?[0-9]{3,20}`).Draw(t, "group")
	}
	if e.Peer != "" {
		e.Peer = rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t, "peer")
	}
}

func newBuilder(evs []Event) *Builder {
	b := new(Builder)
	for i := range evs {
		b.Add(&evs[i])
	}
	return b
}

// eventsOf materialises a batch, in memory of its own.
func eventsOf(b *Batch) []Event {
	var evs []Event
	for i := range b.Len() {
		var e Event
		b.Event(i, &e)
		evs = append(evs, cloneEvent(e))
	}
	return evs
}

func cloneEvent(e Event) Event {
	for _, s := range []*string{&e.App, &e.Group, &e.Peer, &e.User, &e.Message, &e.Content, &e.EventID} {
		*s = strings.Clone(*s)
	}
	for _, ids := range []*[]string{&e.Members, &e.Admins} {
		var clone []string
		for _, id := range *ids {
			clone = append(clone, strings.Clone(id))
		}
		*ids = clone
	}
	return e
}

// sameEvents fails unless got are the events want; an empty list of members is the same as none.
func sameEvents(t interface {
	Helper()
	Fatalf(string, ...any)
}, got, want []Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if want := cloneEvent(want[i]); !reflect.DeepEqual(got[i], want) {
			t.Fatalf("event %d:\n got %+v\nwant %+v", i, got[i], want)
		}
	}
}

// tables are the public part of a batch.
func tables(b *Batch) Batch {
	public := *b
	public.scratch = scratch{}
	return public
}

func TestBatchRoundTrip(t *testing.T) {
	var builder Builder // reused by all checks, as by a publisher
	var batch, set Batch
	rapid.Check(t, func(t *rapid.T) {
		evs := drawBatch(t)
		if len(evs) > MaxBatchEvents {
			evs = evs[:MaxBatchEvents]
		}
		builder.Reset()
		for i := range evs {
			builder.Add(&evs[i])
		}
		if builder.Len() != len(evs) {
			t.Fatalf("Len %d, want %d", builder.Len(), len(evs))
		}
		entry := builder.Encode([]byte("before"))
		entry = entry[len("before"):]
		if len(entry) > builder.Size() {
			t.Fatalf("entry of %d bytes, Size %d", len(entry), builder.Size())
		}
		if err := batch.Decode(entry); err != nil {
			t.Fatalf("Decode: %v", err)
		}
		sameEvents(t, eventsOf(&batch), evs)

		set.SetEvents(evs)
		sameEvents(t, eventsOf(&set), evs)
		if got, want := fmt.Sprintf("%+v", tables(&set)), fmt.Sprintf("%+v", tables(&batch)); got != want && len(evs) > 0 && !hasPointers(evs) {
			t.Fatalf("SetEvents and Decode differ:\n got %s\nwant %s", got, want)
		}
		if again := new(encoder).entry(nil, &batch); !bytes.Equal(again, entry) {
			t.Fatalf("encoded again: %d bytes, first %d", len(again), len(entry))
		}
	})
}

// hasPointers reports whether the batch of evs prints with addresses in it.
func hasPointers(evs []Event) bool {
	for i := range evs {
		if evs[i].Settings != nil {
			return true
		}
	}
	return false
}

func TestBatchRoundTripOfTraffic(t *testing.T) {
	var batch Batch
	for _, s := range trafficShapes {
		for _, size := range []int{1, 7, 1024, MaxBatchEvents} {
			evs := s.traffic(7, 2*MaxBatchEvents)
			if size < 1024 {
				evs = evs[:500]
			}
			batches := batchesOf(evs, size)
			for i, entry := range encodeAll(evs, size) {
				if err := batch.Decode(entry); err != nil {
					t.Fatalf("%s of %d: %v", s.name, size, err)
				}
				sameEvents(t, eventsOf(&batch), batches[i])
			}
		}
	}
}

// Each entry has its own tables, whatever the one before it named.
func TestBuilderBeginsEachEntryAnew(t *testing.T) {
	var builder Builder
	var batch Batch
	for _, e := range []Event{
		{App: "org#app", Kind: MessageRead, Group: "group-1", Message: "message-1", User: "user-1", Content: "thanks"},
		{App: "org#app", Kind: MessageRead, Group: "group-1", Message: "message-1", User: "user-1", Content: "thanks"},
	} {
		builder.Reset()
		builder.Add(&e)
		if err := batch.Decode(builder.Encode(nil)); err != nil {
			t.Fatal(err)
		}
		sameEvents(t, eventsOf(&batch), []Event{e})
	}
}

func TestBuilderKeepsNothingOfItsEvents(t *testing.T) {
	text := []byte("org#appgroup-1message-1user-1thanks")
	e := Event{
		App: aliasString(text[:7]), Kind: MessageRead, Group: aliasString(text[7:14]),
		Message: aliasString(text[14:23]), User: aliasString(text[23:29]), Content: aliasString(text[29:]),
	}
	want := []Event{cloneEvent(e)}
	b := newBuilder([]Event{e})
	clear(text)
	entry := b.Encode(nil)
	var batch Batch
	if err := batch.Decode(entry); err != nil {
		t.Fatal(err)
	}
	clear(entry)
	sameEvents(t, eventsOf(&batch), want)
}

// The largest events there are: nothing in a batch is longer than what its size says, and an entry
// that keeps to MaxBatchBytes can always be decoded.
func TestBuilderSizeBoundsTheEntry(t *testing.T) {
	id := func(i int) string { return fmt.Sprintf("%0*d", MaxIDBytes, i) }
	members := make([]string, MaxFirstMembers)
	for i := range members {
		members[i] = id(i)
	}
	created := Event{App: "a#b", Kind: GroupCreated, Group: id(1), User: id(2), Members: members}
	b := newBuilder([]Event{created})
	if b.Size() > MaxBatchBytes {
		t.Errorf("the largest single event has Size %d, more than MaxBatchBytes", b.Size())
	}
	for i := 0; b.Size() < MaxBatchBytes-2*MaxContentBytes; i++ {
		content := strings.Repeat("é", MaxContentBytes/2-4) + fmt.Sprint(i)
		b.Add(&Event{App: "a#b", Kind: MessageRead, Peer: id(3 * i), User: id(3*i + 1), Message: id(3*i + 2), Content: content, Time: maxTime - int64(i)%2*maxTime/2})
	}
	entry := b.Encode(nil)
	if len(entry) > b.Size() {
		t.Errorf("entry of %d bytes, Size %d", len(entry), b.Size())
	}
	if len(b.encoder.raw) > b.Size() {
		t.Errorf("payload of %d bytes, Size %d", len(b.encoder.raw), b.Size())
	}
	var batch Batch
	if err := batch.Decode(entry); err != nil {
		t.Fatal(err)
	}
}

func TestBuilderRefusesWhatNobodyCouldRead(t *testing.T) {
	e := Event{App: "a#b", Kind: MessageRead, Group: "g", User: "u", Message: "m"}
	full := new(Builder)
	for range MaxBatchEvents {
		full.Add(&e)
	}
	for name, add := range map[string]func(){
		"too many":     func() { full.Add(&e) },
		"unknown kind": func() { new(Builder).Add(&Event{Kind: kindEnd}) },
		"no kind":      func() { new(Builder).Add(&Event{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("Add did not panic")
				}
			}()
			add()
		})
	}
	var batch Batch
	if err := batch.Decode(full.Encode(nil)); err != nil || batch.Len() != MaxBatchEvents {
		t.Errorf("a full batch: %d events, %v", batch.Len(), err)
	}
}

func TestBatchOfNothing(t *testing.T) {
	batch := Batch{Kinds: []Kind{MessageRead}}
	if err := batch.Decode(new(Builder).Encode(nil)); err != nil || batch.Len() != 0 {
		t.Errorf("%d events, %v", batch.Len(), err)
	}
	batch.SetEvents(nil)
	if batch.Len() != 0 {
		t.Errorf("%d events", batch.Len())
	}
}

func TestBatchCodecDoesNotAllocate(t *testing.T) {
	evs := trafficShapes[0].traffic(3, 4096)
	var builder Builder
	var batch Batch
	var entry []byte
	round := func() {
		builder.Reset()
		for i := range evs {
			builder.Add(&evs[i])
		}
		entry = builder.Encode(entry[:0])
		if err := batch.Decode(entry); err != nil {
			t.Fatal(err)
		}
	}
	round()
	round() // the memory has its size
	if n := testing.AllocsPerRun(10, round); n != 0 {
		t.Errorf("%v allocations in a round of %d events", n, len(evs))
	}
}

// The promise of the log's encoding: bytes for each receipt, over batches as they are under load. A
// deterministic stream, so that a change of the encoding shows here.
func TestBatchBytesPerReceipt(t *testing.T) {
	for _, c := range []struct {
		shape, size int
		atMost      float64
	}{
		{0, 4096, 5.1}, {0, 512, 6.3}, {0, 128, 7.8}, // decimal ids
		{1, 4096, 10.4}, {1, 512, 13.5}, {1, 128, 16}, // random base62 ids
		{2, 4096, 13}, {2, 512, 17}, {2, 128, 19.5}, // UUIDs
		{3, 4096, 5.4}, {3, 512, 7.8}, {3, 128, 12.3}, // decimal ids, 64 messages at a time
	} {
		s := &trafficShapes[c.shape]
		evs := s.traffic(1, 16*4096)
		bytes := 0
		for _, entry := range encodeAll(evs, c.size) {
			bytes += len(entry)
		}
		if per := float64(bytes) / float64(len(evs)); per > c.atMost {
			t.Errorf("%s, batches of %d: %.2f bytes per receipt, at most %.1f", s.name, c.size, per, c.atMost)
		}
	}
}

// The same ids in two apps, and the same message id in two conversations, are different things.
func TestBatchKeepsAppsAndConversationsApart(t *testing.T) {
	var evs []Event
	for _, app := range []string{"a#b", "a#c", "a#b"} {
		evs = append(evs,
			Event{App: app, Kind: MessageRead, Group: "g", User: "u", Message: "message1"},
			Event{App: app, Kind: MessageRead, Group: "h", User: "u", Message: "message1"},
			Event{App: app, Kind: MessageRead, Peer: "g", User: "u", Message: "message1"},
			Event{App: app, Kind: MessageRead, Peer: "u", User: "g", Message: "message1"},
			Event{App: app, Kind: ConversationRead, Peer: "u", User: "g"},
			Event{App: app, Kind: StatisticSeen, User: "u", Upto: 1},
		)
	}
	var b Batch
	if err := b.Decode(newBuilder(evs).Encode(nil)); err != nil {
		t.Fatal(err)
	}
	sameEvents(t, eventsOf(&b), evs)
	if len(b.Conversations) != 8 || len(b.Messages) != 6 || len(b.Users) != 2 {
		t.Errorf("%d conversations, %d messages, %d users", len(b.Conversations), len(b.Messages), len(b.Users))
	}
}

func TestDictForgetsWhenItsGenerationsWrapAround(t *testing.T) {
	var d dict
	_, hash, _ := d.find(0, "x")
	d.insert(0, "x", hash) // in generation 1
	d.generation = 1<<16 - 1
	d.reset()
	if n, _, ok := d.find(0, "x"); ok {
		t.Errorf("found key %d of 65535 generations ago", n)
	}
}

func TestDictNumbersKeysInOrder(t *testing.T) {
	type key struct {
		scope uint64
		id    string
	}
	var d dict
	rapid.Check(t, func(t *rapid.T) {
		d.reset()
		numbers := map[key]uint32{}
		for range rapid.IntRange(0, 300).Draw(t, "keys") {
			k := key{rapid.Uint64Range(0, 3).Draw(t, "scope"), rapid.StringMatching(`[ab]{0,6}`).Draw(t, "id")}
			n, hash, ok := d.find(k.scope, k.id)
			want, known := numbers[k]
			if ok != known || ok && n != want {
				t.Fatalf("%v: found %v %d, want %v %d", k, ok, n, known, want)
			}
			if !ok {
				numbers[k] = d.insert(k.scope, k.id, hash)
				if int(numbers[k]) != len(numbers)-1 {
					t.Fatalf("%v: number %d of %d", k, numbers[k], len(numbers))
				}
			}
		}
	})
}
