package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestValidateNamesTheBadField(t *testing.T) {
	long := strings.Repeat("x", MaxIDBytes+1)
	settings := DefaultSettings()
	badSettings := DefaultSettings()
	badSettings.GroupReceipts.Visibility = "all"
	many := slices.Repeat([]string{"u"}, MaxFirstMembers+1)
	tests := []struct {
		event Event
		want  string
	}{
		{Event{}, "type: unknown kind 0"},
		{Event{Kind: kindEnd}, "type: unknown kind 17"},

		{Event{Kind: MessageSent, User: "a", Group: "g"}, "id: missing"},
		{Event{Kind: MessageSent, Message: "m", Group: "g"}, "from: missing"},
		{Event{Kind: MessageSent, Message: "m", User: "a"}, "group: missing: name a group or a peer"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Group: "g", Peer: "b"}, "peer: not allowed beside group"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "a"}, "peer: the same user as from"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Receipt: true}, "receipt: only for messages to a group"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Strict: true}, "strict: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Content: "c"}, "content: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Role: RoleAdmin}, "role: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Members: []string{"u"}}, "members: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Admins: []string{"u"}}, "admins: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Settings: &settings}, "settings: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Revision: 1}, "revision: not allowed in message.sent"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Upto: 1}, "upto: not allowed in message.sent"},

		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", EventID: strings.Repeat("e", 65)}, "event_id: 65 bytes, at most 64"},
		{Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b", EventID: "e\n"}, "event_id: control character U+000A"},
		{Event{Kind: StatisticSeen, User: "a", Upto: 1, EventID: "e"}, "event_id: not allowed in statistic.seen"},

		{Event{Kind: MessageDelivered, User: "a", Peer: "b"}, "message: missing"},
		{Event{Kind: MessageDelivered, Message: "m", Peer: "b"}, "user: missing"},
		{Event{Kind: MessageDelivered, Message: "m", User: "a"}, "peer: missing"},
		{Event{Kind: MessageDelivered, Message: "m", User: "a", Group: "g"}, "group: not allowed in message.delivered"},
		{Event{Kind: MessageDelivered, Message: "m", User: "a", Peer: "a"}, "peer: the same user as user"},

		{Event{Kind: MessageRead, User: "a", Group: "g"}, "message: missing"},
		{Event{Kind: MessageRead, Message: "m", Group: "g"}, "user: missing"},
		{Event{Kind: MessageRead, Message: "m", User: "a", Group: "g", Receipt: true}, "receipt: not allowed in message.read"},
		{Event{Kind: MessageRead, Message: "m", User: "a", Group: "g", Content: strings.Repeat("c", MaxContentBytes+1)}, "content: 4097 bytes, at most 4096"},
		{Event{Kind: MessageRead, Message: "m", User: "a", Group: "g", Content: "\xff"}, "content: not valid UTF-8"},

		{Event{Kind: ConversationRead, Group: "g"}, "user: missing"},
		{Event{Kind: ConversationRead, User: "a"}, "group: missing: name a group or a peer"},
		{Event{Kind: ConversationRead, User: "a", Group: "g", Message: "m\n"}, "upto: control character U+000A"},
		{Event{Kind: ConversationRead, User: "a", Group: "g", Receipt: true}, "receipt: not allowed in conversation.read"},

		{Event{Kind: MessageRecalled, User: "a", Group: "g"}, "message: missing"},
		{Event{Kind: MessageRecalled, Message: "m", User: "a", Group: "g", Content: "c"}, "content: not allowed in message.recalled"},

		{Event{Kind: GroupCreated, User: "a"}, "group: missing"},
		{Event{Kind: GroupCreated, Group: "g"}, "owner: missing"},
		{Event{Kind: GroupCreated, Group: "g", User: "a", Peer: "b"}, "peer: not allowed in group.created"},
		{Event{Kind: GroupCreated, Group: "g", User: "a", Members: []string{"b", "c", ""}}, "members[2]: empty"},
		{Event{Kind: GroupCreated, Group: "g", User: "a", Admins: []string{long}}, "admins[0]: 129 bytes, at most 128"},
		{Event{Kind: GroupCreated, Group: "g", User: "a", Members: many}, "members: more than 5000 members and admins"},
		{Event{Kind: GroupCreated, Group: "g", User: "a", Members: many[:2501], Admins: many[:2500]}, "members: more than 5000 members and admins"},
		{Event{Kind: GroupJoined, Group: "g"}, "user: missing"},
		{Event{Kind: GroupLeft, User: "a"}, "group: missing"},
		{Event{Kind: GroupRole, Group: "g", User: "a"}, "role: missing"},
		{Event{Kind: GroupRole, Group: "g", User: "a", Role: RoleOwner + 1}, "role: none of owner, admin and member"},
		{Event{Kind: GroupDissolved}, "group: missing"},
		{Event{Kind: GroupDissolved, Group: "g", User: "a"}, "user: not allowed in group.dissolved"},

		{Event{Kind: AppConfigured, Revision: 1}, "settings: missing"},
		{Event{Kind: AppConfigured, Settings: &settings}, "revision: missing"},
		{Event{Kind: AppConfigured, Settings: &badSettings, Revision: 1}, "settings.group_receipts.visibility: neither sender nor members"},
		{Event{Kind: AppConfigured, Settings: &settings, Revision: 1, Group: "g"}, "group: not allowed in app.configured"},
		{Event{Kind: StatisticSeen, Upto: 1}, "user: missing"},
		{Event{Kind: StatisticSeen, User: "a"}, "upto: missing"},
		{Event{Kind: StatisticSeen, User: "a", Upto: 1, Device: "d\n"}, "device: control character U+000A"},
		{Event{Kind: MessageRead, User: "a", Group: "g", Message: "m", Device: "d"}, "device: not allowed in message.read"},

		{Event{Kind: GroupDissolved, Group: long}, "group: 129 bytes, at most 128"},
		{Event{Kind: GroupDissolved, Group: strings.Repeat("é", 65)}, "group: 130 bytes, at most 128"},
		{Event{Kind: GroupDissolved, Group: "a\x00b"}, "group: control character U+0000"},
		{Event{Kind: GroupDissolved, Group: "a\nb"}, "group: control character U+000A"},
		{Event{Kind: GroupDissolved, Group: "a\x7fb"}, "group: control character U+007F"},
		{Event{Kind: GroupDissolved, Group: "é\u0085"}, "group: control character U+0085"},
		{Event{Kind: GroupDissolved, Group: "a\xffb"}, "group: not valid UTF-8"},
		{Event{Kind: GroupDissolved, Group: "\xed\xa0\x80"}, "group: not valid UTF-8"},
		{Event{Kind: MessageSent, Message: "m\t", User: "a", Group: "g"}, "id: control character U+0009"},
		{Event{Kind: MessageSent, Message: "m", User: long, Group: "g"}, "from: 129 bytes, at most 128"},
		{Event{Kind: MessageRead, Message: "m", User: "\x80", Peer: "b"}, "user: not valid UTF-8"},
		{Event{Kind: MessageRead, Message: "m", User: "a", Peer: "\x1f"}, "peer: control character U+001F"},

		{Event{Kind: GroupDissolved, Group: "g", Time: -1}, "time: not between the years 1970 and 9999"},
		{Event{Kind: GroupDissolved, Group: "g", Time: maxTime + 1}, "time: not between the years 1970 and 9999"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			err := test.event.Validate()
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Fatalf("error is %T %v, want a *FieldError", err, err)
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

func TestValidateAcceptsTheLimits(t *testing.T) {
	most := strings.Repeat("x", MaxIDBytes)
	wide := strings.Repeat("é", MaxIDBytes/2)
	for i, e := range []Event{
		{Kind: MessageSent, Message: most, User: wide, Group: " ", Receipt: true, Time: maxTime},
		{Kind: MessageSent, Message: "m", User: "a", Peer: "b", Time: minTime},
		{Kind: MessageRead, Message: "m", User: "a", Peer: "b", Content: strings.Repeat("c", MaxContentBytes), Strict: true},
		{Kind: GroupCreated, Group: "g", User: "a"},
		{Kind: GroupCreated, Group: "g", User: "a", Members: slices.Repeat([]string{most}, MaxFirstMembers)},
	} {
		if err := e.Validate(); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
}

func TestValidateAcceptsEveryDrawnEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t, MessageSent, kindEnd-1)
		if err := e.Validate(); err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
	})
}

// The check of ASCII ids is a shortcut: it may never accept what the full check refuses.
func TestPlainIDsAreValidIDs(t *testing.T) {
	for c := range 256 {
		for _, id := range []string{string([]byte{byte(c)}), "a" + string([]byte{byte(c)}), string([]byte{byte(c)}) + "a"} {
			if plainID(id) && IDProblem(id) != "" {
				t.Errorf("%q is plain but %s", id, IDProblem(id))
			}
		}
	}
	if plainID("") || plainID(strings.Repeat("a", MaxIDBytes+1)) || !plainID(strings.Repeat("a", MaxIDBytes)) {
		t.Error("plainID does not keep the length limits")
	}
}

func TestValidateDoesNotAllocate(t *testing.T) {
	e := Event{Kind: MessageRead, Message: "m-1", User: "ü-2", Group: "g-3", Content: "seen", Time: 1}
	if n := testing.AllocsPerRun(100, func() {
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValidateApp(t *testing.T) {
	long := strings.Repeat("x", maxAppNameBytes+1)
	for _, test := range []struct{ org, app, want string }{
		{"acme", "chat", ""},
		{"1100-2.x_y", strings.Repeat("x", maxAppNameBytes), ""},
		{"v2", "v1", ""},
		{"", "chat", "events: bad app: org: empty"},
		{"acme", "", "events: bad app: app: empty"},
		{"v1", "chat", `events: bad app: org: "v1" is reserved`},
		{long, "chat", "events: bad app: org: 65 bytes, at most 64"},
		{"acme", long, "events: bad app: app: 65 bytes, at most 64"},
		{"..", "chat", `events: bad app: org: ".." does not begin with a letter or digit`},
		{"acme", "-x", `events: bad app: app: "-x" does not begin with a letter or digit`},
		{"a#b", "chat", `events: bad app: org: "a#b" has more than letters, digits, '-', '_' and '.'`},
		{"acme", "c/d", `events: bad app: app: "c/d" has more than letters, digits, '-', '_' and '.'`},
		{"acme", "c d", `events: bad app: app: "c d" has more than letters, digits, '-', '_' and '.'`},
		{"acme", "c\x00", `events: bad app: app: "c\x00" has more than letters, digits, '-', '_' and '.'`},
		{"acmé", "c", `events: bad app: org: "acmé" has more than letters, digits, '-', '_' and '.'`},
	} {
		err := ValidateApp(test.org, test.app)
		if got := errorText(err); got != test.want {
			t.Errorf("ValidateApp(%q, %q):\ngot  %s\nwant %s", test.org, test.app, got, test.want)
		}
		if err != nil && !errors.Is(err, ErrBadApp) {
			t.Errorf("%v does not wrap ErrBadApp", err)
		}
		org, app, err := SplitAppKey(AppKey(test.org, test.app))
		if test.want == "" && (err != nil || org != test.org || app != test.app) {
			t.Errorf("SplitAppKey: %q, %q, %v", org, app, err)
		}
	}
	if _, _, err := SplitAppKey("acme"); errorText(err) != `events: bad app: not org#app: "acme"` {
		t.Error(err)
	}
	if _, _, err := SplitAppKey("a#b#c"); err == nil {
		t.Error("a#b#c was split")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}
