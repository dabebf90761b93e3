package events

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// The codec is written by hand. These tests hold it to schema/events.proto: the protobuf library
// reads what the codec writes, and a plain interpreter written from the comments of the schema
// finds the events in it.

// queue hands out the values of a column one after the other.
type queue []protoreflect.Value

func (q *queue) next() protoreflect.Value {
	v := (*q)[0]
	*q = (*q)[1:]
	return v
}

// table resolves references as the schema describes them.
type table struct{ used int }

func (b *table) resolve(ref uint64) (index int, first bool) {
	if ref == 0 {
		b.used++
		return b.used - 1, true
	}
	return b.used - int(ref), false
}

// interpret is the events of an entry, found as the comments of the schema say.
func interpret(t testing.TB, data []byte) []Event {
	entry := parseMessage(t, "Entry", data)
	payload := entry.get("payload").Bytes()
	if entry.get("compression").Enum() == compressionZstd {
		var err error
		if payload, err = zstdDecoder().DecodeAll(payload, make([]byte, 0, entry.uint("raw_size"))); err != nil {
			t.Fatal(err)
		}
	}
	b := parseMessage(t, "Batch", payload)
	p := interpreter{
		apps: b.strings("apps"), groupIDs: interpretIDs(b.sub("groups")), messageIDs: interpretIDs(b.sub("messages")),
		userIDs: interpretIDs(b.sub("users")), sideBits: b.get("sides").Bytes(),
		messageRefs: b.list("message_refs"), messageRuns: b.list("message_runs"), conversationRefs: b.list("conversation_refs"),
		userRefs: b.list("user_refs"), conversations: b.list("conversations"), attributes: b.list("attributes"),
	}
	flags := b.list("run_flags")
	for i, kind := range b.list("run_kinds") {
		for range b.list("run_lengths")[i].Uint() {
			e := p.event(Kind(kind.Enum()))
			if len(flags) > 0 {
				e.Receipt, e.Strict = flags[i].Uint()&1 != 0, flags[i].Uint()&2 != 0
				e.Silent = flags[i].Uint()&4 != 0
				e.Imported = flags[i].Uint()&8 != 0
			}
			p.events = append(p.events, e)
		}
	}
	p.optional(b)
	return p.events
}

type interpreter struct {
	apps, groupIDs, messageIDs, userIDs []string
	messageRefs, messageRuns            queue
	conversationRefs, userRefs          queue
	conversations, attributes           queue
	sideBits                            []byte
	sides                               int
	groupCount, left, message           int
	messageTable, convTable, userTable  table
	convs                               []Conversation
	convOfMessage                       []int
	events                              []Event
}

func (p *interpreter) conversation() int {
	index, first := p.convTable.resolve(p.conversationRefs.next().Uint())
	if first {
		v := p.conversations.next().Uint()
		c := Conversation{App: p.apps[v/4]}
		switch v % 4 {
		case 1:
			c.Group = p.groupIDs[p.groupCount]
			p.groupCount++
		case 2:
			c.A, c.B = p.user(), p.user()
		}
		p.convs = append(p.convs, c)
	}
	return index
}

func (p *interpreter) user() string {
	index, _ := p.userTable.resolve(p.userRefs.next().Uint())
	return p.userIDs[index]
}

func (p *interpreter) event(kind Kind) Event {
	e := Event{Kind: kind}
	var conv int
	switch kind {
	case MessageSent, MessageDelivered, MessageRead, MessageRecalled:
		if p.left == 0 {
			index, first := p.messageTable.resolve(p.messageRefs.next().Uint())
			if first {
				p.convOfMessage = append(p.convOfMessage, p.conversation())
			}
			p.message, p.left = index, 1
			if len(p.messageRuns) > 0 {
				p.left = int(p.messageRuns.next().Uint())
			}
		}
		p.left--
		e.Message = p.messageIDs[p.message]
		conv = p.convOfMessage[p.message]
	default:
		conv = p.conversation()
	}
	c := p.convs[conv]
	e.App, e.Group = c.App, c.Group
	if c.A != "" {
		e.User, e.Peer = c.A, c.B
		if p.sideBits[p.sides/8]>>(p.sides%8)&1 == 1 {
			e.User, e.Peer = c.B, c.A
		}
		p.sides++
	} else if kind != GroupDissolved && kind != AppConfigured && kind != RulesLevel && kind != LogRepartitioned {
		e.User = p.user()
	}
	switch kind {
	case GroupCreated, GroupRole, AppConfigured, StatisticSeen, UserConfigured, RulesLevel, LogRepartitioned:
		interpretAttributes(&e, protoMsg{p.attributes.next().Message()})
	}
	return e
}

func (p *interpreter) optional(b protoMsg) {
	last := int64(0)
	for i, v := range b.list("times") {
		if v.Uint() != 0 {
			last += protowire.DecodeZigZag(v.Uint() - 1)
			p.events[i].Time = last
		}
	}
	contents, refs := table{}, b.list("content_refs")
	event := -1
	for i, gap := range b.list("content_gaps") {
		event += int(gap.Uint()) + 1
		index, _ := contents.resolve(refs[i].Uint())
		p.events[event].Content = b.strings("contents")[index]
	}
	ids := interpretIDs(b.sub("event_ids"))
	event = -1
	for i, gap := range b.list("event_id_gaps") {
		event += int(gap.Uint()) + 1
		p.events[event].EventID = ids[i]
	}
	labels, labelled := interpretIDs(b.sub("labels")), -1
	for i, gap := range b.list("label_gaps") {
		labelled += int(gap.Uint()) + 1
		p.events[labelled].Label = labels[i]
	}
	uptos := interpretIDs(b.sub("uptos"))
	event = -1
	for i, gap := range b.list("upto_gaps") {
		event += int(gap.Uint()) + 1
		p.events[event].Message = uptos[i]
	}
}

func interpretAttributes(e *Event, x protoMsg) {
	e.Role = Role(x.get("role").Enum())
	e.Members, e.Admins = x.strings("members"), x.strings("admins")
	e.Revision, e.Upto, e.Device = x.uint("revision"), x.uint("upto"), x.str("device")
	e.SendReads, e.SendDeliveries = Choice(x.get("send_reads").Enum()), Choice(x.get("send_deliveries").Enum())
	s := x.sub("settings")
	if !s.IsValid() {
		return
	}
	g := s.sub("group_receipts")
	e.Settings = &Settings{
		DeliveryReceipts: s.bool("delivery_receipts"),
		OpenRegistration: s.bool("open_registration"),
		ReadReceipts:     ReadReceipts(s.get("read_receipts").Enum()), Reciprocal: s.bool("reciprocal_read_receipts"),
		UnreadBy:    UnreadBy(s.get("unread_by").Enum()),
		Invitations: Invitations(s.bool("invitations_need_consent")),
		ReceiptTime: ReceiptTime(s.get("receipt_time").Enum()), MaxReportAge: Duration(s.int("max_report_age")),
		InvitationValidity: Duration(s.int("invitation_validity")),
		GroupReceipts: GroupReceipts{
			Enabled: g.bool("enabled"), WhoMayRequest: g.str("who_may_request"), Validity: Duration(g.int("validity")),
			MaxGroupSize: int(g.int("max_group_size")), Visibility: g.str("visibility"),
			MaxRequestsPerGroupPerDay: int(g.int("max_requests_per_group_per_day")), AboveLimit: AboveLimit(g.get("above_limit").Enum()),
		},
		SingleReceipts: SingleReceipts{Validity: Duration(s.sub("single_receipts").int("validity"))},
	}
	for _, v := range s.list("alerts") {
		r := protoMsg{v.Message()}
		e.Settings.Alerts = append(e.Settings.Alerts, AlertRule{
			Name: r.str("name"), By: AlertBy(r.get("by").Enum()), ID: r.str("id"), After: Duration(r.int("after")),
			ReadBelow: int(r.uint("read_below")), MedianAbove: Duration(r.int("median_above")), MinRecipients: int(r.uint("min_recipients")),
		})
	}
}

func interpretIDs(m protoMsg) (ids []string) {
	prefixes, digits, text, uuids := m.strings("prefixes"), m.list("digits"), m.str("text"), m.get("uuids").Bytes()
	numbers, lengths := queue(m.list("numbers")), queue(m.list("lengths"))
	last := make([]uint64, len(prefixes))
	for i, shape := range m.list("run_shapes") {
		for range m.list("run_lengths")[i].Uint() {
			if shape.Uint() == 0 {
				n := lengths.next().Uint()
				ids, text = append(ids, text[:n]), text[n:]
				continue
			}
			s := shape.Uint() - 1
			if digits[s].Uint() == 32 {
				u := uuids[:16]
				uuids = uuids[16:]
				ids = append(ids, fmt.Sprintf("%s%x-%x-%x-%x-%x", prefixes[s], u[:4], u[4:6], u[6:8], u[8:10], u[10:]))
				continue
			}
			last[s] += uint64(numbers.next().Int())
			ids = append(ids, fmt.Sprintf("%s%0*d", prefixes[s], digits[s].Uint(), last[s]))
		}
	}
	return ids
}

func TestEntriesAreWhatTheSchemaSays(t *testing.T) {
	for name, evs := range goldens() {
		t.Run(name, func(t *testing.T) { sameEvents(t, interpret(t, golden(t, name)), evs) })
	}
	rapid.Check(t, func(rt *rapid.T) {
		evs := drawBatch(rt)
		if len(evs) > MaxBatchEvents {
			evs = evs[:MaxBatchEvents]
		}
		sameEvents(rt, interpret(t, newBuilder(evs).Encode(nil)), evs)
	})
}

// An event list made by any protobuf library is read, and ours is read by it.
func TestEventListsAreWhatTheSchemaSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		evs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
			e := drawPublic(t)
			e.App = ""
			return e
		}), 1, 10).Draw(rt, "events")
		list := parseMessage(t, "EventList", AppendEventList(nil, evs))
		var got []Event
		for _, v := range list.list("events") {
			m := protoMsg{v.Message()}
			got = append(got, Event{
				Kind: Kind(m.get("kind").Enum()), Message: m.str("message"), User: m.str("user"), Group: m.str("group"),
				Peer: m.str("peer"), Content: m.str("content"), Receipt: m.bool("receipt"), Strict: m.bool("strict"),
				Role: Role(m.get("role").Enum()), Members: m.strings("members"), Admins: m.strings("admins"), Time: m.int("time"),
				EventID: m.str("event_id"), Silent: m.bool("silent"), Label: m.str("label"),
			})
		}
		sameEvents(rt, got, evs)

		theirs, err := proto.Marshal(list.Interface())
		if err != nil {
			rt.Fatal(err)
		}
		if got, err = decodeEventList(theirs); err != nil {
			rt.Fatal(err)
		}
		sameEvents(rt, got, evs)
	})
}

// The names in errors are those of the schema.
func TestNamesOfTheSchema(t *testing.T) {
	for message, names := range map[protoreflect.Name][]string{"Batch": batchNames, "Ids": idsNames} {
		fields := newMessage(t, message).Descriptor().Fields()
		if fields.Len() != len(names)-1 {
			t.Errorf("%s: %d fields, %d names", message, fields.Len(), len(names)-1)
		}
		for i, name := range names[1:] {
			f := fields.ByNumber(protowire.Number(i + 1))
			if name != "" && string(f.Name()) != name {
				t.Errorf("%s: field %d is %s, not %s", message, i+1, f.Name(), name)
			}
			if repeated := f.IsList() && !f.IsPacked(); repeated != (name == "") {
				t.Errorf("%s: %s repeated: %v", message, f.Name(), repeated)
			}
		}
	}
	fields := newMessage(t, "Event").Descriptor().Fields()
	for i, f := range eventFields[1:] {
		if name := fields.ByNumber(protowire.Number(i + 1)).Name(); string(name) != f.name {
			t.Errorf("Event: field %d is %s, not %s", i+1, name, f.name)
		}
	}
	file, _ := schema()
	kinds := file.Enums().ByName("Kind").Values()
	for k := MessageSent; k < kindEnd; k++ {
		want := "KIND_" + strings.ToUpper(strings.ReplaceAll(k.String(), ".", "_"))
		if name := kinds.ByNumber(protoreflect.EnumNumber(k)).Name(); string(name) != want {
			t.Errorf("Kind: %d is %s, not %s", k, name, want)
		}
	}
	if kinds.Len() != int(kindEnd) {
		t.Errorf("Kind: %d values, not %d", kinds.Len(), kindEnd)
	}
}
