package events

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"
)

func TestSubjectsAreStable(t *testing.T) {
	entry := func(partition int, kind Kind, app string) string {
		subject, err := singleSubject(partition, kind, app)
		if err != nil {
			t.Error(err)
		}
		return subject
	}
	ingress := func(e Event) string {
		subject, err := IngressSubject(&e)
		if err != nil {
			t.Error(err)
		}
		return subject
	}
	source, destination := IngressMapping(4)
	for _, test := range []struct{ got, want string }{
		{BatchSubject(3), "receipts.v1.3.batch"},
		{PartitionSubjects(12), "receipts.v1.12.>"},
		{entry(0, MessageSent, "acme#chat"), "receipts.v1.0.message-sent.acme.chat"},
		{entry(0, MessageDelivered, "acme#chat"), "receipts.v1.0.message-delivered.acme.chat"},
		{entry(0, MessageRead, "a.b#c_d-e"), "receipts.v1.0.message-read.a%2Eb.c_d-e"},
		{entry(0, ConversationRead, "acme#chat"), "receipts.v1.0.conversation-read.acme.chat"},
		{entry(0, MessageRecalled, "acme#chat"), "receipts.v1.0.message-recalled.acme.chat"},
		{entry(0, GroupCreated, "acme#chat"), "receipts.v1.0.group-created.acme.chat"},
		{entry(0, GroupJoined, "acme#chat"), "receipts.v1.0.group-joined.acme.chat"},
		{entry(0, GroupLeft, "acme#chat"), "receipts.v1.0.group-left.acme.chat"},
		{entry(0, GroupRole, "acme#chat"), "receipts.v1.0.group-role.acme.chat"},
		{entry(0, GroupDissolved, "acme#chat"), "receipts.v1.0.group-dissolved.acme.chat"},
		{ingress(Event{App: "acme#chat", Kind: MessageRead, User: "u", Group: "g-1"}), "receipts.in.acme.chat.g~g-1.message-read"},
		{ingress(Event{App: "a.b#chat", Kind: MessageSent, User: "bob", Peer: "alice"}), "receipts.in.a%2Eb.chat.s~alice~bob.message-sent"},
		{ingress(Event{App: "acme#chat", Kind: MessageSent, User: "a~b", Peer: "%.*> é"}), "receipts.in.acme.chat.s~%25%2E%2A%3E%20%C3%A9~a%7Eb.message-sent"},
		{source, "receipts.in.*.*.*.*"},
		{destination, "receipts.v1.{{partition(4,1,2,3)}}.{{wildcard(4)}}.{{wildcard(1)}}.{{wildcard(2)}}"},
	} {
		if test.got != test.want {
			t.Errorf("\ngot  %s\nwant %s", test.got, test.want)
		}
	}
}

func TestSubjectsThatCannotBeBuilt(t *testing.T) {
	build := func(_ string, err error) error { return err }
	for _, test := range []struct {
		err  error
		want string
	}{
		{build(singleSubject(0, AppConfigured, "acme#chat")), "events: bad subject: app.configured events have no subject of their own"},
		{build(singleSubject(0, KindUnknown, "acme#chat")), "events: bad subject: unknown events have no subject of their own"},
		{build(singleSubject(0, MessageRead, "acme")), `events: bad subject: not org#app: "acme"`},
		{build(IngressSubject(&Event{Kind: StatisticSeen, App: "acme#chat"})), "events: bad subject: statistic.seen events have no conversation"},
		{build(IngressSubject(&Event{Kind: MessageRead, App: "v1#chat", Group: "g"})), `events: bad subject: org: "v1" is reserved`},
		{build(IngressSubject(&Event{Kind: MessageRead, App: "acme#chat", User: "u"})), "events: bad subject: neither a group nor two users"},
		{build(conversationToken(&Event{User: "u", Peer: "u"})), "events: bad subject: neither a group nor two users"},
	} {
		if errorText(test.err) != test.want || !errors.Is(test.err, ErrBadSubject) {
			t.Errorf("\ngot  %v\nwant %s", test.err, test.want)
		}
	}
}

func TestParseEntrySubjectSaysWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ subject, want string }{
		{"", "does not begin with receipts.v1."},
		{"receipts.v2.0.batch", "does not begin with receipts.v1."},
		{"receipts.v1.", "no partition number"},
		{"receipts.v1.x.batch", "no partition number"},
		{"receipts.v1.-1.batch", "no partition number"},
		{"receipts.v1.+1.batch", "no partition number"},
		{"receipts.v1.01.batch", "no partition number"},
		{"receipts.v1.65536.batch", "no partition number"},
		{"receipts.v1.99999999999999999999.batch", "no partition number"},
		{"receipts.v1.0", "unknown kind"},
		{"receipts.v1.0.batches", "unknown kind"},
		{"receipts.v1.0.batch.acme.chat", "unknown kind"},
		{"receipts.v1.0.batch.of.chat", "unknown kind"}, // what a producer of org "of" would get
		{"receipts.v1.0.batch.of.a.b.c", "unknown kind"},
		{"receipts.v1.0.message.read.acme.chat", "unknown kind"},
		{"receipts.v1.0.app-configured.acme.chat", "unknown kind"},
		{"receipts.v1.0.message-read", "org: empty"},
		{"receipts.v1.0.message-read.acme", "app: empty"},
		{"receipts.v1.0.message-read..chat", "org: empty"},
		{"receipts.v1.0.message-read.v1.chat", `org: "v1" is reserved`},
		{"receipts.v1.0.message-read.acme.chat.x", "app: not escaped as %XX where needed and only there"},
		{"receipts.v1.0.message-read.ac%2eme.chat", "org: not escaped as %XX where needed and only there"},
		{"receipts.v1.0.message-read.%61cme.chat", "org: not escaped as %XX where needed and only there"},
		{"receipts.v1.0.message-read.acme%2.chat", "org: not escaped as %XX where needed and only there"},
		{"receipts.v1.0.message-read.acme.chat%", "app: not escaped as %XX where needed and only there"},
		{"receipts.v1.0.message-read.acme%23x.chat", `org: "acme#x" has more than letters, digits, '-', '_' and '.'`},
	} {
		_, err := parseEntrySubject(test.subject)
		if !errors.Is(err, ErrBadSubject) || !strings.HasSuffix(errorText(err), ": "+test.want) {
			t.Errorf("%s:\ngot  %v\nwant … %s", test.subject, err, test.want)
		}
	}
}

func TestParseIngressSubjectSaysWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ subject, want string }{
		{"receipts.v1.0.batch", "does not begin with receipts.in."},
		{"receipts.in.acme.chat.g~g", "not receipts.in.<org>.<app>.<conversation>.<kind>"},
		{"receipts.in.acme.chat.g~a.b.message-read", "not receipts.in.<org>.<app>.<conversation>.<kind>"},
		{"receipts.in.acme.chat.g~g.batch", "unknown kind"},
		{"receipts.in.acme..g~g.message-read", "app: empty"},
		{"receipts.in.acme.chat.g.message-read", "a conversation begins with g~ or s~"},
		{"receipts.in.acme.chat.g~.message-read", "group: empty"},
		{"receipts.in.acme.chat.g~a%0A.message-read", "group: control character U+000A"},
		{"receipts.in.acme.chat.g~a~b.message-read", "group: not escaped as %XX where needed and only there"},
		{"receipts.in.acme.chat.g~é.message-read", "group: not escaped as %XX where needed and only there"},
		{"receipts.in.acme.chat.g~%FF.message-read", "group: not valid UTF-8"},
		{"receipts.in.acme.chat.g~" + strings.Repeat("x", 129) + ".message-read", "group: 129 bytes, at most 128"},
		{"receipts.in.acme.chat.s~a.message-read", "a single chat has two users"},
		{"receipts.in.acme.chat.s~a~b~c.message-read", "second user: not escaped as %XX where needed and only there"},
		{"receipts.in.acme.chat.s~~b.message-read", "first user: empty"},
		{"receipts.in.acme.chat.s~b~a.message-read", "the users are not in order"},
		{"receipts.in.acme.chat.s~a~a.message-read", "the users are not in order"},
	} {
		_, _, err := parseIngressSubject(test.subject)
		if !errors.Is(err, ErrBadSubject) || !strings.HasSuffix(errorText(err), ": "+test.want) {
			t.Errorf("%s:\ngot  %v\nwant … %s", test.subject, err, test.want)
		}
	}
}

func TestSubjectRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawPublic(t)
		partition := rapid.IntRange(0, MaxPartitions-1).Draw(t, "partition")
		subject, err := singleSubject(partition, e.Kind, e.App)
		if err != nil || !server.IsValidPublishSubject(subject) {
			t.Fatalf("%q: %v", subject, err)
		}
		parsed, err := parseEntrySubject(subject)
		if want := (entrySubject{partition, e.Kind, e.App}); err != nil || parsed != want || parsed.batch() {
			t.Fatalf("%s: %+v, %v, want %+v", subject, parsed, err, want)
		}
		parsed, err = parseEntrySubject(BatchSubject(partition))
		if err != nil || parsed != (entrySubject{partition: partition}) || !parsed.batch() {
			t.Fatalf("%s: %+v, %v", BatchSubject(partition), parsed, err)
		}
		parsed, err = parseEntrySubject(NodeBatchSubject(partition, "node-1", "0aff"))
		if err != nil || parsed != (entrySubject{partition: partition}) || !IsEntrySubject(NodeBatchSubject(partition, "node-1", "0aff"), partition) {
			t.Fatalf("%s: %+v, %v", NodeBatchSubject(partition, "node-1", "0aff"), parsed, err)
		}
		subject, err = IngressSubject(&e)
		if err != nil || !server.IsValidPublishSubject(subject) {
			t.Fatalf("%q: %v", subject, err)
		}
		c, kind, err := parseIngressSubject(subject)
		if app, err := IngressApp(subject); err != nil || app != e.App {
			t.Fatalf("%s is of app %q, %v", subject, app, err)
		}
		want := Conversation{App: e.App, Group: e.Group}
		if e.Group == "" {
			want.A, want.B = min(e.User, e.Peer), max(e.User, e.Peer)
		}
		if err != nil || c != want || kind != e.Kind {
			t.Fatalf("%s: %+v, %s, %v, want %+v", subject, c, kind, err, want)
		}
	})
}

// FuzzSubject holds that whatever is parsed has this one spelling.
func FuzzSubject(f *testing.F) {
	for _, seed := range []string{
		"receipts.v1.3.batch",
		"receipts.v1.0.message-read.a%2Eb.c_d-e",
		"receipts.in.acme.chat.g~%E6%B6%88.message-read",
		"receipts.in.acme.chat.s~alice~b%7Eob.message-sent",
		"receipts.in.acme.chat.s~%41~%.message-sent",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if s, err := parseEntrySubject(subject); err == nil {
			again := BatchSubject(s.partition)
			if strings.HasPrefix(subject, again+nodeTokens) && s.batch() { // a node's
				again = subject
			}
			if !s.batch() {
				if again, err = singleSubject(s.partition, s.kind, s.app); err != nil {
					t.Fatal(err)
				}
			}
			if again != subject {
				t.Fatalf("%q is written as %q", subject, again)
			}
		}
		if c, kind, err := parseIngressSubject(subject); err == nil {
			again, err := IngressSubject(&Event{App: c.App, Kind: kind, Group: c.Group, User: c.A, Peer: c.B})
			if err != nil || again != subject {
				t.Fatalf("%q is written as %q: %v", subject, again, err)
			}
		}
	})
}
