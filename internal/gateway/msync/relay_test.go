package msync

import (
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// relayedBytes is what others would get of a payload that ann sends to bob, nil for nothing.
func relayedBytes(payload []byte, group bool) []byte {
	body, err := parseBody(payload)
	if err != nil {
		return nil
	}
	m := relayedMessage(body, group)
	if body.GetType() == int32(msyncpb.Body_RECALL) {
		m = relayedRecall(body)
	}
	m.From, m.To = &msyncpb.Name{Name: proto.String("ann")}, &msyncpb.Name{Name: proto.String("bob")}
	return marshal(m)
}

// ambiguity says what two decoders may read differently in an encoded message: a field that the
// schema does not have, one in another wire type than its own, one that is there twice, or two of
// those of which there may be one.
func ambiguity(data []byte, schema protoreflect.MessageDescriptor) string {
	seen := map[protoreflect.Name]bool{}
	for len(data) > 0 {
		number, wire, tag := protowire.ConsumeTag(data)
		if tag < 0 {
			return "no tag"
		}
		size := protowire.ConsumeFieldValue(number, wire, data[tag:])
		if size < 0 {
			return "cut off"
		}
		value := data[tag : tag+size]
		data = data[tag+size:]
		field := schema.Fields().ByNumber(number)
		switch {
		case field == nil:
			return "a field that is not in the schema"
		case wire != wireType(field.Kind()):
			return string(field.FullName()) + " has another wire type"
		case !field.IsList() && seen[field.Name()]:
			return string(field.FullName()) + " is there twice"
		}
		seen[field.Name()] = true
		if one := field.ContainingOneof(); one != nil {
			if seen[one.Name()] {
				return string(one.FullName()) + " has two values"
			}
			seen[one.Name()] = true
		}
		if field.Kind() == protoreflect.MessageKind {
			inner, _ := protowire.ConsumeBytes(value)
			if problem := ambiguity(inner, field.Message()); problem != "" {
				return problem
			}
		}
	}
	return ""
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	return protowire.VarintType
}

// forgery writes random fields of a message, known and unknown ones, in any wire type, repeated and
// nested.
func forgery(r *rand.Rand, schema protoreflect.MessageDescriptor, depth int) []byte {
	var data []byte
	for range r.IntN(8) {
		number := protowire.Number(1 + r.IntN(30))
		var inner protoreflect.MessageDescriptor
		if fields := schema.Fields(); r.IntN(4) > 0 {
			f := fields.Get(r.IntN(fields.Len()))
			number, inner = f.Number(), f.Message()
		}
		switch wire := protowire.Type(r.IntN(6)); wire {
		case protowire.VarintType:
			data = protowire.AppendVarint(protowire.AppendTag(data, number, wire), r.Uint64()>>r.IntN(64))
		case protowire.Fixed32Type:
			data = protowire.AppendFixed32(protowire.AppendTag(data, number, wire), r.Uint32())
		case protowire.Fixed64Type:
			data = protowire.AppendFixed64(protowire.AppendTag(data, number, wire), r.Uint64())
		case protowire.StartGroupType:
			data = protowire.AppendTag(data, number, wire)
			data = append(data, forgery(r, schema, depth+1)...)
			data = protowire.AppendTag(data, number, protowire.EndGroupType)
		default:
			value := []byte("ben")
			if inner != nil && depth < 4 {
				value = forgery(r, inner, depth+1)
			}
			data = protowire.AppendBytes(protowire.AppendTag(data, number, protowire.BytesType), value)
		}
	}
	return data
}

// Whatever a client sends, what others get of it is read in one way only, and says who sent it.
func TestWhatIsRelayedIsUnambiguous(t *testing.T) {
	schema := new(msyncpb.Body).ProtoReflect().Descriptor()
	frames := 200_000
	if testing.Short() {
		frames = 20_000
	}
	r := rand.New(rand.NewPCG(1, 2))
	relayed, ambiguous := 0, 0
	for range frames {
		payload := forgery(r, schema, 0)
		if ambiguity(payload, schema) != "" {
			ambiguous++
		}
		group := r.IntN(2) == 0
		data := relayedBytes(payload, group)
		if data == nil {
			continue
		}
		relayed++
		if problem := ambiguity(data, schema); problem != "" {
			t.Fatalf("%x is passed on as %x: %s", payload, data, problem)
		}
		var body msyncpb.Body
		if err := proto.Unmarshal(data, &body); err != nil {
			t.Fatal(err)
		}
		recall := body.GetType() == int32(msyncpb.Body_RECALL)
		switch {
		case body.GetFrom().GetName() != "ann" || body.GetTo().GetName() != "bob":
			t.Fatalf("%x is passed on as from %v to %v", payload, body.GetFrom(), body.GetTo())
		case !recall && body.GetType() != int32(msyncpb.Body_CHAT) && body.GetType() != int32(msyncpb.Body_GROUPCHAT):
			t.Fatalf("%x is passed on as type %d", payload, body.GetType())
		case !recall && body.AckMessageId != nil || body.AckContent != nil:
			t.Fatalf("%x is passed on as a receipt: %v", payload, &body)
		}
	}
	if relayed < frames/10 || ambiguous < frames/10 {
		t.Errorf("of %d payloads %d were ambiguous, %d passed on: this tests nothing", frames, ambiguous, relayed)
	}
}

// What claims to be JSON and is not is refused, wherever it is: the recipient's SDK would fail on
// it each time that it comes.
func TestWhatBreaksTheSDKIsRefused(t *testing.T) {
	c := &session{srv: &Server{cfg: Config{Limits: Limits{}.withDefaults()}}, app: "acme#chat", user: "ann", device: "web"}
	for text, want := range map[string]bool{`{"a":[1]}`: true, `1`: true, "": false, "{": false, "easemob.com": false, "{}{}": false} {
		kv := []*msyncpb.KeyValue{{Key: proto.String("k"), Type: proto.Int32(int32(msyncpb.KeyValue_JSON)), Value: &msyncpb.KeyValue_StringValue{StringValue: text}}}
		for name, body := range map[string]*msyncpb.Body{
			"ext":    {Type: bodyType(msyncpb.Body_CHAT), Contents: []*msyncpb.Body_Content{{}}, Ext: kv},
			"params": {Type: bodyType(msyncpb.Body_CHAT), Contents: []*msyncpb.Body_Content{{}, {Params: kv}}},
			"exts":   {Type: bodyType(msyncpb.Body_CHAT), Contents: []*msyncpb.Body_Content{{CustomExts: kv}}},
			"recall": {Type: bodyType(msyncpb.Body_RECALL), AckMessageId: proto.Uint64(7), Ext: kv},
		} {
			x := &pendingSend{id: 42, at: time.Now()}
			refused := c.classify(x, &msyncpb.Meta{To: &msyncpb.Name{Name: proto.String("bob")}, Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), Payload: marshal(body)})
			if taken := refused == nil; taken != want {
				t.Errorf("%s with %q: taken %v", name, text, taken)
			}
		}
	}
}

// What an app sends arrives: every field that the schema has of a message's contents.
func TestContentsArriveWhole(t *testing.T) {
	content := new(msyncpb.Body_Content)
	fill(content.ProtoReflect())
	sent := &msyncpb.Body{
		Type: bodyType(msyncpb.Body_CHAT), Contents: []*msyncpb.Body_Content{content},
		Ext: []*msyncpb.KeyValue{{Key: proto.String("k"), Value: &msyncpb.KeyValue_DoubleValue{DoubleValue: 1.5}}},
	}
	var got msyncpb.Body
	if err := proto.Unmarshal(relayedBytes(marshal(sent), false), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Contents) != 1 || !proto.Equal(got.Contents[0], content) || !proto.Equal(got.Ext[0], sent.Ext[0]) {
		t.Errorf("%v arrives as %v", sent, &got)
	}
}

// fill sets every field of a message.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		switch f := fields.Get(i); {
		case f.IsList():
			m.Mutable(f).List().AppendMutable()
		case f.Kind() == protoreflect.MessageKind:
			fill(m.Mutable(f).Message())
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(string(f.Name())))
		case f.Kind() == protoreflect.DoubleKind:
			m.Set(f, protoreflect.ValueOfFloat64(float64(i)+0.5))
		default:
			m.Set(f, protoreflect.ValueOfInt32(int32(i)))
		}
	}
}
