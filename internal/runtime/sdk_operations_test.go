package runtime

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

const (
	userDomain  = "easemob.com"
	groupDomain = "conference.easemob.com"
)

// target is what an operation over the WebSocket is about.
type target struct {
	group          string
	inGroup, alone uint64 // messages of the group, and of ann and cleo
}

// sdkOperation is a frame that a client may send after its login.
type sdkOperation struct {
	name  string
	frame func(id uint64, x target) *msyncpb.Frame
	// member operations may be done by every member of the group, anybody ones by everybody.
	member, anybody bool
	// ask operations are answered about the caller's own queue, quiet ones as if they had worked,
	// and mute ones not at all.
	ask, quiet, mute bool
}

func syncFrame(up *msyncpb.SyncUp) *msyncpb.Frame {
	return &msyncpb.Frame{Command: msyncpb.Frame_SYNC.Enum(), Payload: encoded(up)}
}

func encoded(m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// sdkOperations are all that the protocol has: every type of body to a group and to a user, every
// way of a message, every namespace and every question about the queue.
func sdkOperations() (list []sdkOperation) {
	meta := func(id uint64, to, domain string, ns int32, payload []byte, change func(*msyncpb.Meta)) *msyncpb.Frame {
		m := &msyncpb.Meta{Id: &id, To: &msyncpb.Name{Name: &to, Domain: &domain}, Ns: &ns, Payload: payload}
		if change != nil {
			change(m)
		}
		return syncFrame(&msyncpb.SyncUp{Meta: m})
	}
	body := func(kind, content int32, message uint64) []byte {
		b := &msyncpb.Body{Type: &kind, Contents: []*msyncpb.Body_Content{{Type: &content, Text: proto.String("x"), Action: proto.String("x")}}}
		if b.Config = (&msyncpb.Body_Config{AllowGroupAck: proto.Bool(true)}); message != 0 {
			b.AckMessageId, b.AckContent = &message, proto.String("x")
		}
		return encoded(b)
	}
	route := func(r msyncpb.Meta_Route, users ...string) func(*msyncpb.Meta) {
		return func(m *msyncpb.Meta) { m.Route, m.DirectedUsers = &r, users }
	}
	add := func(o sdkOperation) { list = append(list, o) }
	for kind := range int32(10) {
		name := fmt.Sprint("type ", kind)
		if n, ok := msyncpb.Body_Type_name[kind]; ok {
			name = n
		}
		isText := kind <= int32(msyncpb.Body_GROUPCHAT)
		quiet := kind == int32(msyncpb.Body_DELIVER_ACK)
		add(sdkOperation{name: name + " to the group", quiet: quiet, member: kind != int32(msyncpb.Body_RECALL), frame: func(id uint64, x target) *msyncpb.Frame {
			return meta(id, x.group, groupDomain, 1, body(kind, 0, x.inGroup), nil)
		}})
		for _, peer := range []string{"ann", "cleo"} {
			to := peer
			if isText {
				to = "zoe" // whom everybody may write to
			}
			add(sdkOperation{name: name + " about what ann and cleo wrote, to " + to, quiet: quiet, anybody: isText || kind == int32(msyncpb.Body_CHANNEL_ACK),
				frame: func(id uint64, x target) *msyncpb.Frame {
					return meta(id, to, userDomain, 1, body(kind, 0, x.alone), nil)
				}})
		}
	}
	for name, change := range map[string]func(*msyncpb.Meta){
		"to those of the group who are online": route(msyncpb.Meta_ONLINE), "to some of the group": route(msyncpb.Meta_DIRECTED, "ann", "ben"), "to the group": nil,
	} {
		for content, what := range map[int32]string{0: "a text", int32(msyncpb.Body_Content_COMMAND): "a command"} {
			add(sdkOperation{name: what + " " + name, member: true, frame: func(id uint64, x target) *msyncpb.Frame {
				return meta(id, x.group, groupDomain, 1, body(int32(msyncpb.Body_GROUPCHAT), content, 0), change)
			}})
		}
	}
	add(sdkOperation{name: "a command to a user", anybody: true, frame: func(id uint64, _ target) *msyncpb.Frame {
		return meta(id, "zoe", userDomain, 1, body(int32(msyncpb.Body_CHAT), int32(msyncpb.Body_Content_COMMAND), 0), nil)
	}})
	for ns := range int32(12) {
		if ns != int32(msyncpb.Meta_CHAT) {
			add(sdkOperation{name: fmt.Sprint("namespace ", ns), mute: ns == int32(msyncpb.Meta_STATISTIC), frame: func(id uint64, x target) *msyncpb.Frame {
				return meta(id, x.group, groupDomain, ns, body(1, 0, x.inGroup), nil)
			}})
		}
	}
	for name, queue := range map[string]*msyncpb.Name{
		"the queue of ann": {Name: proto.String("inbox:ann"), Domain: proto.String(userDomain)}, "the queue ann": {AppKey: proto.String(app), Name: proto.String("ann")},
		"the queue of the group": {Name: proto.String("g1"), Domain: proto.String(groupDomain)}, "no queue": {},
	} {
		for _, key := range []uint64{0, 1, 1 << 63} {
			add(sdkOperation{name: fmt.Sprint(name, " from ", key), anybody: true, ask: true, frame: func(uint64, target) *msyncpb.Frame {
				up := &msyncpb.SyncUp{Queue: queue}
				if key != 0 {
					up.Key = &key
				}
				return syncFrame(up)
			}})
		}
	}
	add(sdkOperation{name: "what is unread", anybody: true, ask: true, frame: func(uint64, target) *msyncpb.Frame {
		return &msyncpb.Frame{Command: msyncpb.Frame_UNREAD.Enum(), Payload: encoded(&msyncpb.SyncUp{Queue: &msyncpb.Name{Name: proto.String("inbox:ann")}})}
	}})
	add(sdkOperation{name: "a notice", mute: true, frame: func(uint64, target) *msyncpb.Frame { return &msyncpb.Frame{Command: msyncpb.Frame_NOTICE.Enum()} }})
	add(sdkOperation{name: "a login again", mute: true, frame: func(uint64, target) *msyncpb.Frame { return loginFrame("", app, "ann") }})
	add(sdkOperation{name: "a logout", mute: true, frame: func(uint64, target) *msyncpb.Frame { return &msyncpb.Frame{Command: msyncpb.Frame_LOGOUT.Enum()} }})
	return list
}

// claim is what a frame pretends besides.
type claim struct {
	name  string
	frame func(*msyncpb.Frame)
	meta  func(*msyncpb.Meta)
	body  func(*msyncpb.Body)
	// elsewhere claims change what the frame is about, so that there is no such thing.
	elsewhere bool
}

func claims() []claim {
	ann := func() *msyncpb.Name {
		return &msyncpb.Name{AppKey: proto.String(app), Name: proto.String("ann"), Domain: proto.String(userDomain), Resource: proto.String("web")}
	}
	list := []claim{
		{name: "nothing"},
		{name: "to be ann, by the frame", frame: func(f *msyncpb.Frame) { f.Guid, f.Auth = ann(), proto.String("$t$nonsense") }},
		{name: "to be ann, by the sender", meta: func(m *msyncpb.Meta) { m.From = ann() }},
		{name: "to be ann, by the body", body: func(b *msyncpb.Body) { b.From, b.To = ann(), ann() }},
		{name: "that the recipient is of ann's app", meta: func(m *msyncpb.Meta) { m.To.AppKey = proto.String(app) }},
		{name: "an id and a time", meta: func(m *msyncpb.Meta) { m.Timestamp = proto.Uint64(1) }},
	}
	for name, alike := range map[string]func(string) string{
		"upper case": strings.ToUpper, "a space": func(s string) string { return s + " " }, "a character that is not seen": func(s string) string { return s + "\u200b" },
		"a path": func(s string) string { return "../chat/" + s }, "the app": func(s string) string { return app + "_" + s }, "a wildcard": func(string) string { return ">" },
		"a dot": func(s string) string { return s + "." }, "another domain in it": func(s string) string { return s + "@" + groupDomain },
	} {
		list = append(list, claim{name: "a recipient with " + name, elsewhere: true, meta: func(m *msyncpb.Meta) { m.To.Name = proto.String(alike(m.To.GetName())) }})
	}
	return list
}

// apply changes a frame of an operation.
func (c claim) apply(f *msyncpb.Frame) *msyncpb.Frame {
	if c.frame != nil {
		c.frame(f)
	}
	var up msyncpb.SyncUp
	if c.meta == nil && c.body == nil || proto.Unmarshal(f.Payload, &up) != nil || up.Meta == nil {
		return f
	}
	if c.meta != nil {
		c.meta(up.Meta)
	}
	var body msyncpb.Body
	if c.body != nil && up.Meta.GetNs() == int32(msyncpb.Meta_CHAT) && proto.Unmarshal(up.Meta.Payload, &body) == nil {
		c.body(&body)
		up.Meta.Payload = encoded(&body)
	}
	f.Payload = encoded(&up)
	return f
}

func loginFrame(token, app, user string) *msyncpb.Frame {
	return &msyncpb.Frame{
		Command: msyncpb.Frame_PROVISION.Enum(), Auth: proto.String("$t$" + token),
		Guid:    &msyncpb.Name{AppKey: &app, Name: &user, Domain: proto.String(userDomain), Resource: proto.String("web")},
		Payload: encoded(&msyncpb.Provision{Resource: proto.String("web"), SessionId: proto.String("1:")}),
	}
}

// over reports whether an operation ends the connection.
func (o sdkOperation) over() bool { return o.name == "a login again" || o.name == "a logout" }
