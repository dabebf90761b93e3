package events

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// wellFormed is a payload in protobuf's text format: two reads of a group message, one of a
// single-chat message with a content, a member's new role. The table below breaks it.
const wellFormed = `
run_kinds: [KIND_MESSAGE_READ, KIND_GROUP_ROLE] run_lengths: [3, 1]
message_refs: [0, 0] message_runs: [2, 1] conversation_refs: [0, 0, 2] user_refs: [0, 0, 0, 0, 1]
sides: "\001" apps: "a#b" conversations: [1, 2]
groups { prefixes: "" digits: [3] run_shapes: [1] run_lengths: [1] numbers: [7] }
messages { run_shapes: [0] run_lengths: [2] lengths: [1, 2] text: "mnn" }
users { prefixes: ["u", ""] digits: [4, 32] run_shapes: [1, 2, 0] run_lengths: [1, 1, 2] numbers: [17] lengths: [1, 1] text: "ab" uuids: "0123456789abcdef" }
times: [0, 3, 0, 5] contents: "ok" content_gaps: [2] content_refs: [0]
attributes { role: ROLE_ADMIN }`

// entryOf makes an entry of a payload in text format.
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
		{App: "a#b", Kind: MessageRead, Group: "007", User: "u0017", Message: "m"},
		{App: "a#b", Kind: MessageRead, Group: "007", User: "30313233-3435-3637-3839-616263646566", Message: "m", Time: 1},
		{App: "a#b", Kind: MessageRead, Peer: "a", User: "b", Message: "nn", Content: "ok"},
		{App: "a#b", Kind: GroupRole, Group: "007", User: "b", Role: RoleAdmin, Time: 3},
	})
}

func TestDecodeNamesWhatIsMalformed(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"kind of a later version", `KIND_GROUP_ROLE`, `99`, "batch: unknown version: kind 99"},
		{"no kind", `KIND_GROUP_ROLE`, `0`, "batch: malformed: run_kinds: no kind at 1"},
		{"lengths missing", `run_lengths: [3, 1]`, `run_lengths: [4]`, "batch: malformed: 2 run_kinds, 0 run_flags, 1 run_lengths"},
		{"run of nothing", `run_lengths: [3, 1]`, `run_lengths: [4, 0]`, "batch: malformed: run_lengths: 0 after 4 events"},
		{"too many events", `run_lengths: [3, 1]`, `run_lengths: [3, 16382]`, "batch: malformed: run_lengths: 16382 after 3 events"},
		{"one event too many", `run_lengths: [3, 1]`, `run_lengths: [4, 1]`, "batch: malformed: message_refs: cut short after 2"},
		{"one event too few", `run_lengths: [3, 1]`, `run_lengths: [2, 1]`, "batch: malformed: group.role in a conversation of type 2"},
		{"flags of a later version", `run_lengths: [3, 1]`, `run_lengths: [3, 1] run_flags: [0, 16]`, "batch: unknown version: flags 0x10"},
		{"imported without a time", `run_lengths: [3, 1]`, `run_lengths: [3, 1] run_flags: [8, 0]`, "batch: malformed: times: none for event 0, which is imported"},
		{"flags missing", `run_lengths: [3, 1]`, `run_lengths: [3, 1] run_flags: [1]`, "batch: malformed: 2 run_kinds, 1 run_flags, 2 run_lengths"},
		{"column too long", `run_lengths: [3, 1]`, `run_lengths: [3, 4294967295]`, "batch: malformed: run_lengths: 4294967295 after 3 events"},
		{"message before the first", `message_refs: [0, 0]`, `message_refs: [1, 0]`, "batch: malformed: message_refs: 1 after 0 messages of 2"},
		{"message beyond the table", `message_refs: [0, 0] message_runs: [2, 1]`, `message_refs: [0, 0, 0] message_runs: [1, 1, 1]`, "batch: malformed: message_refs: 0 after 2 messages of 2"},
		{"message never used", `message_refs: [0, 0]`, `message_refs: [0, 1]`, "batch: malformed: group.role in a conversation of type 2"},
		{"messages missing", `message_refs: [0, 0] message_runs: [2, 1]`, ``, "batch: malformed: message_refs: cut short after 0"},
		{"message left over", `message_refs: [0, 0] message_runs: [2, 1]`, `message_refs: [0, 0, 1] message_runs: [2, 1, 1]`, "batch: malformed: message_refs: 2 of 3 used"},
		{"message runs missing", `message_runs: [2, 1]`, `message_runs: [2]`, "batch: malformed: message_runs: bad value or none at 1"},
		{"message runs left over", `message_runs: [2, 1]`, `message_runs: [2, 1, 1]`, "batch: malformed: message_runs: 3 for 2 message_refs, 0 events too many"},
		{"message run of nothing", `message_runs: [2, 1]`, `message_runs: [3, 0]`, "batch: malformed: group.role in a conversation of type 2"},
		{"message run too long", `message_runs: [2, 1]`, `message_runs: [2, 2]`, "batch: malformed: message_runs: 2 for 2 message_refs, 1 events too many"},
		{"conversation before the first", `conversation_refs: [0, 0, 2]`, `conversation_refs: [0, 0, 3]`, "batch: malformed: conversation_refs: 3 after 2 conversations"},
		{"conversation beyond the table", `conversation_refs: [0, 0, 2]`, `conversation_refs: [0, 0, 0]`, "batch: malformed: conversations: cut short after 2"},
		{"conversation missing", `conversation_refs: [0, 0, 2]`, `conversation_refs: [0, 0]`, "batch: malformed: conversation_refs: cut short after 2"},
		{"conversation left over", `conversation_refs: [0, 0, 2]`, `conversation_refs: [0, 0, 2, 1]`, "batch: malformed: conversation_refs: 3 of 4 used"},
		{"group event in a single chat", `conversation_refs: [0, 0, 2]`, `conversation_refs: [0, 0, 1]`, "batch: malformed: group.role in a conversation of type 2"},
		{"message outside of conversations", `conversations: [1, 2]`, `conversations: [0, 2]`, "batch: malformed: message.read in a conversation of type 0"},
		{"app of no table", `conversations: [1, 2]`, `conversations: [1, 6]`, "batch: malformed: conversations: 6 with 1 apps"},
		{"type of no conversation", `conversations: [1, 2]`, `conversations: [1, 3]`, "batch: malformed: conversations: 3 with 1 apps"},
		{"conversation never used", `conversations: [1, 2]`, `conversations: [1, 2, 2]`, "batch: malformed: conversations: 2 of 3 used"},
		{"delivery in a group", `KIND_MESSAGE_READ`, `KIND_MESSAGE_DELIVERED`, "batch: malformed: message.delivered in a conversation of type 1"},
		{"group missing", `run_shapes: [1] run_lengths: [1] numbers: [7]`, ``, "batch: malformed: groups: cut short after 0"},
		{"group never used", `run_lengths: [1] numbers: [7]`, `run_lengths: [2] numbers: [7, 1]`, "batch: malformed: groups: 1 of 2 used"},
		{"user before the first", `user_refs: [0, 0, 0, 0, 1]`, `user_refs: [0, 0, 0, 0, 5]`, "batch: malformed: user_refs: bad value or none with 4 of 4 users known"},
		{"user beyond the table", `user_refs: [0, 0, 0, 0, 1]`, `user_refs: [0, 0, 0, 0, 0]`, "batch: malformed: user_refs: bad value or none with 4 of 4 users known"},
		{"user missing", `user_refs: [0, 0, 0, 0, 1]`, `user_refs: [0, 0, 0, 0]`, "batch: malformed: user_refs: bad value or none with 4 of 4 users known"},
		{"user left over", `user_refs: [0, 0, 0, 0, 1]`, `user_refs: [0, 0, 0, 0, 1, 1]`, "batch: malformed: user_refs: 5 of 6 used"},
		{"user never used", `user_refs: [0, 0, 0, 0, 1]`, `user_refs: [0, 0, 0, 1, 1]`, "batch: malformed: conversation 1: its users are not in order"},
		{"chat of one", `text: "ab"`, `text: "aa"`, "batch: malformed: conversation 1: its users are not in order"},
		{"chat not in order", `text: "ab"`, `text: "ba"`, "batch: malformed: conversation 1: its users are not in order"},
		{"chat without users", `user_refs: [0, 0, 0, 0, 1]`, `user_refs: [0, 0]`, "batch: malformed: user_refs: bad value or none with 2 of 4 users known"},
		{"sides missing", `sides: "\001"`, ``, "batch: malformed: sides: cut short after 0"},
		{"sides left over", `sides: "\001"`, `sides: "\001\000"`, "batch: malformed: sides: 2 bytes for 1 events"},
		{"app too long", `"a#b"`, `"LONG"`, "batch: malformed: apps: 130 bytes after 0 apps"},
		{"empty app", `"a#b"`, `""`, "batch: malformed: apps: 0 bytes after 0 apps"},
		{"shapes without digits", `digits: [3]`, ``, "batch: groups: malformed: digits: 0 for 1 prefixes"},
		{"shape of a later version", `digits: [3]`, `digits: [20]`, "batch: groups: unknown version: 20 digits"},
		{"number too long", `numbers: [7]`, `numbers: [1000]`, "batch: groups: malformed: numbers: 1000 has more than 3 digits"},
		{"negative number", `numbers: [7]`, `numbers: [-1]`, "batch: groups: malformed: numbers: 18446744073709551615 has more than 3 digits"},
		{"number missing", `numbers: [7]`, ``, "batch: groups: malformed: numbers: cut short"},
		{"numbers left over", `numbers: [7]`, `numbers: [7, 0]`, "batch: groups: malformed: numbers, uuids: 1 and 0 bytes too many"},
		{"id too long", `prefixes: "" digits: [3]`, `prefixes: "LONG" digits: [3]`, "batch: groups: malformed: 3 digits after 130 bytes"},
		{"shape of no table", `run_shapes: [1, 2, 0]`, `run_shapes: [1, 3, 0]`, "batch: users: malformed: run_shapes: 3 of 2"},
		{"shape run missing", `run_shapes: [1, 2, 0]`, `run_shapes: [1, 2]`, "batch: users: malformed: 2 run_shapes, 3 run_lengths"},
		{"shape run of nothing", `run_lengths: [1, 1, 2]`, `run_lengths: [1, 0, 2]`, "batch: users: malformed: run_lengths: 0 after 1 ids"},
		{"too many ids", `run_lengths: [1, 1, 2]`, `run_lengths: [1, 1, 32767]`, "batch: users: malformed: run_lengths: 32767 after 2 ids"},
		{"lengths of ids missing", `lengths: [1, 1] text: "ab"`, `lengths: [2] text: "ab"`, "batch: users: malformed: lengths: 1 for 2 ids"},
		{"empty id", `lengths: [1, 1] text: "ab"`, `lengths: [2, 0] text: "ab"`, "batch: users: malformed: lengths: 0"},
		{"text too short", `lengths: [1, 1] text: "ab"`, `lengths: [1, 2] text: "ab"`, "batch: users: malformed: text: -1 bytes too many"},
		{"text left over", `lengths: [1, 1] text: "ab"`, `lengths: [1, 1] text: "abc"`, "batch: users: malformed: text: 1 bytes too many"},
		{"uuid missing", `"0123456789abcdef"`, `"0123456789abcde"`, "batch: users: malformed: uuids: cut short"},
		{"uuids left over", `"0123456789abcdef"`, `"0123456789abcdef0"`, "batch: users: malformed: numbers, uuids: 0 and 1 bytes too many"},
		{"times missing", `times: [0, 3, 0, 5]`, `times: [0, 3, 0]`, "batch: times: malformed: cut short after 3"},
		{"times left over", `times: [0, 3, 0, 5]`, `times: [0, 3, 0, 5, 0]`, "batch: times: malformed: 1 bytes too many, or no time at all"},
		{"no time at all", `times: [0, 3, 0, 5]`, `times: [0, 0, 0, 0]`, "batch: times: malformed: 0 bytes too many, or no time at all"},
		{"content beyond the events", `content_gaps: [2]`, `content_gaps: [4]`, "batch: malformed: content_gaps: 4 leads to event 4"},
		{"content of another kind", `content_gaps: [2]`, `content_gaps: [3]`, "batch: malformed: content_gaps: 3 leads to event 3"},
		{"content gap missing", `content_gaps: [2]`, ``, "batch: malformed: 0 content_gaps, 1 content_refs"},
		{"content before the first", `content_refs: [0]`, `content_refs: [1]`, "batch: malformed: content_refs: 1 after 0 contents of 1"},
		{"content beyond the table", `content_gaps: [2] content_refs: [0]`, `content_gaps: [0, 0] content_refs: [0, 0]`, "batch: malformed: content_refs: 0 after 1 contents of 1"},
		{"content never used", `contents: "ok"`, `contents: ["ok", "ok"]`, "batch: malformed: contents: 1 of 2 used"},
		{"empty content", `contents: "ok"`, `contents: ""`, "batch: malformed: contents: 0 bytes after 0 contents"},
		{"attributes missing", `attributes { role: ROLE_ADMIN }`, ``, "batch: malformed: attributes: none for event 3"},
		{"attributes left over", `attributes { role: ROLE_ADMIN }`, `attributes { role: ROLE_ADMIN } attributes {}`, "batch: malformed: attributes: 1 of 2 used"},
		{"role of a later version", `role: ROLE_ADMIN`, `role: 4`, "batch: attributes 0: unknown version: role 4"},
		{"no new role", `role: ROLE_ADMIN`, ``, "batch: attributes 0: malformed: role none in group.role"},
		{"empty member", `role: ROLE_ADMIN`, `role: ROLE_ADMIN members: ""`, "batch: attributes 0: malformed: member of 0 bytes"},
		{"settings of a group", `role: ROLE_ADMIN`, `role: ROLE_ADMIN settings {}`, "batch: attributes 0: malformed: settings in group.role"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// LONG stands for more bytes than an id or app may have.
			broken := strings.Replace(wellFormed, c.old, strings.Replace(c.new, "LONG", strings.Repeat("x", 130), 1), 1)
			if broken == wellFormed {
				t.Fatalf("%q is not in the payload", c.old)
			}
			checkRefused(t, entryOf(t, broken), c.want)
		})
	}
}

func TestDecodeBoundsTheMembersOfAGroup(t *testing.T) {
	members := strings.Repeat(` members: "m"`, MaxFirstMembers)
	for admins, want := range map[string]string{
		"":             "<nil>",
		` admins: "a"`: "batch: attributes 0: events: malformed: 5001 members and admins",
	} {
		attributes := "role: ROLE_ADMIN" + members + admins
		err := new(Batch).Decode(entryOf(t, strings.Replace(wellFormed, "role: ROLE_ADMIN", attributes, 1)))
		if got := fmt.Sprint(err); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func checkRefused(t *testing.T, entry []byte, want string) {
	t.Helper()
	b := Batch{Kinds: []Kind{MessageRead}}
	err := b.Decode(entry)
	if got := strings.Replace(fmt.Sprint(err), "events: ", "", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
		t.Errorf("%v wraps no error of this package", err)
	}
	if b.Len() != 0 || len(b.Users) != 0 {
		t.Errorf("%d events left in the batch", b.Len())
	}
}

func TestDecodeRefusesEntries(t *testing.T) {
	varint := func(field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
	}
	payload := func(b []byte) []byte { return appendBytes(nil, entryFieldPayload, b) }
	frame := zstdEncoder().EncodeAll(make([]byte, 1000), nil)
	version, zstd := varint(entryFieldVersion, 1), varint(entryFieldCompression, compressionZstd)
	var ids idWriter
	ids.add("e")
	eventID := ids.appendTo(nil, batchEventIDs, new([]byte))

	for name, c := range map[string]struct {
		parts [][]byte
		want  string
	}{
		"nothing":                  {nil, "entry: malformed: no version"},
		"JSON":                     {[][]byte{[]byte(`{"type":"message.read"}`)}, "entry: malformed: field 15: wire type 3"},
		"a later version":          {[][]byte{varint(entryFieldVersion, 2)}, "entry: unknown version: 2, this receiptd reads version 1"},
		"a field of a later one":   {[][]byte{version, varint(5, 1)}, "entry: unknown version: field 5"},
		"another compression":      {[][]byte{version, varint(entryFieldCompression, 2), payload(nil)}, "entry: unknown version: compression 2"},
		"payload a number":         {[][]byte{version, varint(entryFieldPayload, 2)}, "entry: malformed: field 4: wire type 0 instead of 2"},
		"payload cut short":        {[][]byte{version, payload([]byte("1234"))[:4]}, "entry: malformed: field 4: unexpected EOF"},
		"a huge raw size":          {[][]byte{version, zstd, varint(entryFieldRawSize, 1<<40), payload(frame)}, "entry: malformed: raw_size 1099511627776, at most 8388608"},
		"a raw size too small":     {[][]byte{version, zstd, varint(entryFieldRawSize, 999), payload(frame)}, "entry: malformed: payload: decompressed size exceeds configured limit"},
		"a raw size too large":     {[][]byte{version, zstd, varint(entryFieldRawSize, 1001), payload(frame)}, "entry: malformed: payload: 1000 bytes, raw_size 1001"},
		"no zstd":                  {[][]byte{version, zstd, varint(entryFieldRawSize, 4), payload([]byte("1234"))}, "entry: malformed: payload: invalid input: magic number mismatch"},
		"a batch of another field": {[][]byte{version, payload(appendBytes(nil, 25, nil))}, "batch: unknown version: field 25"},
		"a batch with a number":    {[][]byte{version, payload(varint(1, 1))}, "batch: malformed: field 1: wire type 0 instead of 2"},
		"a column twice":           {[][]byte{version, payload([]byte{0x0a, 0, 0x0a, 0})}, "batch: malformed: run_kinds: twice"},
		"a value cut short":        {[][]byte{version, payload([]byte{0x0a, 1, 0x80})}, "batch: run_kinds: malformed: unexpected EOF"},
		"a value of 64 bits":       {[][]byte{version, payload([]byte{0x0a, 6, 0x80, 0x80, 0x80, 0x80, 0x80, 1})}, "batch: run_kinds: malformed: value 34359738368"},
		"too many values":          {[][]byte{version, payload(appendBytes(nil, batchUserRefs, make([]byte, maxColumn+1)))}, "batch: user_refs: malformed: more than 32768 values"},
		"an id without an event":   {[][]byte{version, payload(slices.Concat(appendBytes(nil, batchEventIDGaps, []byte{0}), eventID))}, "batch: event_ids: malformed: 1 bytes for event 0"},
		"ids without gaps":         {[][]byte{version, payload(eventID)}, "batch: event_ids: malformed: 0 gaps for 1 texts"},
		"too many bytes":           {[][]byte{version, payload(make([]byte, maxRawBytes))}, "entry: malformed: 8388615 bytes"},
	} {
		t.Run(name, func(t *testing.T) { checkRefused(t, slices.Concat(c.parts...), c.want) })
	}
}

// Every column is needed to the last byte, so that an entry that lost its end never folds.
func TestDecodeRefusesEveryTruncation(t *testing.T) {
	for name := range goldens() {
		entry := golden(t, name)
		var b Batch
		for n := range entry {
			if err := b.Decode(entry[:n]); err == nil && b.Len() > 0 {
				t.Errorf("%s: its first %d of %d bytes were decoded", name, n, len(entry))
			}
		}
	}
}

// checkDecoded fails unless all indices of a decoded batch lead somewhere, as the folds rely on.
func checkDecoded(t interface{ Fatalf(string, ...any) }, b *Batch) {
	n := b.Len()
	for name, length := range map[string]int{"Flags": len(b.Flags), "Conv": len(b.Conv), "Msg": len(b.Msg), "User": len(b.User)} {
		if length != n {
			t.Fatalf("%d events, %s has %d", n, name, length)
		}
	}
	if n > MaxBatchEvents || len(b.Times) > 0 && len(b.Times) != n || len(b.Content) > 0 && len(b.Content) != n {
		t.Fatalf("%d events, %d times, %d contents", n, len(b.Times), len(b.Content))
	}
	for i, label := range b.Labels {
		if label != "" && b.Kinds[i] != MessageSent {
			t.Fatalf("event %d: %s with label %q", i, b.Kinds[i], label)
		}
	}
	for i, upto := range b.Uptos {
		if upto != "" && b.Kinds[i] != ConversationRead {
			t.Fatalf("event %d: %s up to %q", i, b.Kinds[i], upto)
		}
	}
	if len(b.EventIDs) > 0 && len(b.EventIDs) != n || len(b.Uptos) > 0 && len(b.Uptos) != n {
		t.Fatalf("%d events, %d ids", n, len(b.EventIDs))
	}
	for _, id := range b.EventIDs {
		if len(id) > MaxEventIDBytes {
			t.Fatalf("an id of %d bytes", len(id))
		}
	}
	for _, m := range b.Messages {
		if c := b.Conversations[m.Conversation]; c.Group == "" && c.A == "" || m.ID == "" {
			t.Fatalf("message %+v in %+v", m, c)
		}
	}
	attributes := 0
	for i, kind := range b.Kinds {
		f, c := &layouts[kind], b.Conversations[b.Conv[i]]
		single := c.A != "" && c.A < c.B && c.Group == ""
		group := c.Group != "" && c.A == "" && c.B == ""
		app := c == Conversation{App: c.App}
		if c.App == "" || !(single && f.allows(convSingle) || group && f.allows(convGroup) || app && f.allows(convApp)) {
			t.Fatalf("event %d: %s in %+v", i, kind, c)
		}
		if f.message != (b.Msg[i] != None) || f.message && b.Messages[b.Msg[i]].Conversation != b.Conv[i] {
			t.Fatalf("event %d: %s of message %d", i, kind, b.Msg[i])
		}
		if f.user != (b.User[i] != None) || f.user && b.Users[b.User[i]] == "" {
			t.Fatalf("event %d: %s of user %d", i, kind, b.User[i])
		}
		if f.attributes {
			if b.Attributes[attributes].Event != uint32(i) || b.AttributesOf(i) != &b.Attributes[attributes] {
				t.Fatalf("event %d: %s with attributes of %d", i, kind, b.Attributes[attributes].Event)
			}
			attributes++
		}
		var e Event
		b.Event(i, &e)
		if single && (e.User != c.A || e.Peer != c.B) && (e.User != c.B || e.Peer != c.A) {
			t.Fatalf("event %d: %q to %q in %+v", i, e.User, e.Peer, c)
		}
	}
	if attributes != len(b.Attributes) {
		t.Fatalf("%d attributes for %d events", len(b.Attributes), attributes)
	}
}

// What the fuzz test looks for, in each run of the tests: entries with a few wrong bytes.
func TestDecodeOfDamagedEntries(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var b Batch
	decoded := 0
	for name := range goldens() {
		payload, err := new(Batch).payload(golden(t, name))
		if err != nil || len(payload) == 0 {
			continue
		}
		for range 5000 {
			damaged := slices.Clone(payload)
			for range 1 + r.IntN(3) {
				damaged[r.IntN(len(damaged))] = byte(r.Uint32() >> r.IntN(32))
			}
			if b.Decode(appendBytes(appendUint(nil, entryFieldVersion, entryVersion), entryFieldPayload, damaged)) == nil {
				checkDecoded(t, &b)
				decoded++
			}
		}
	}
	if decoded == 0 {
		t.Error("no damaged entry was decoded: the damage is too coarse to find anything")
	}
}

// FuzzBatchDecode has what is not refused encoded again, which leaves the same events. The input is
// a payload, since random bytes rarely are a zstd frame, and if that is refused an entry.
func FuzzBatchDecode(f *testing.F) {
	for name := range goldens() {
		entry := golden(f, name)
		f.Add(entry)
		payload, err := new(Batch).payload(entry)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	var used, again Batch
	f.Fuzz(func(t *testing.T, data []byte) {
		err := used.Decode(appendBytes(appendUint(nil, entryFieldVersion, entryVersion), entryFieldPayload, data))
		if err != nil {
			err = used.Decode(data)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Fatalf("%v wraps no error of this package", err)
			}
			return
		}
		checkDecoded(t, &used)
		if err := again.Decode(new(encoder).entry(nil, &used)); err != nil {
			t.Fatalf("encoded again: %v", err)
		}
		sameEvents(t, eventsOf(&again), eventsOf(&used))
	})
}
