package events

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

// decodeAll decodes a body and keeps copies of its events.
func decodeAll(d *Decoder, body string, format Format) ([]Event, error) {
	var all []Event
	err := d.Decode([]byte(body), format, func(i int, e *Event) error {
		if i != len(all) {
			return fmt.Errorf("index %d for event %d", i, len(all))
		}
		all = append(all, *e)
		return nil
	})
	return all, err
}

func TestDecodeReadsEveryKind(t *testing.T) {
	tests := []struct {
		json string
		want Event
	}{
		{`{"type":"message.sent","id":"m","from":"a","group":"g","receipt":true}`,
			Event{Kind: MessageSent, Message: "m", User: "a", Group: "g", Receipt: true}},
		{`{"type":"message.sent","id":"m","from":"a","peer":"b","receipt":false}`,
			Event{Kind: MessageSent, Message: "m", User: "a", Peer: "b"}},
		{`{"type":"message.delivered","message":"m","user":"b","peer":"a","strict":true}`,
			Event{Kind: MessageDelivered, Message: "m", User: "b", Peer: "a", Strict: true}},
		{`{"type":"message.read","message":"m","user":"b","group":"g","content":"看到了"}`,
			Event{Kind: MessageRead, Message: "m", User: "b", Group: "g", Content: "看到了"}},
		{`{"type":"message.read","message":"m","user":"b","peer":"a","content":""}`,
			Event{Kind: MessageRead, Message: "m", User: "b", Peer: "a"}},
		{`{"type":"conversation.read","user":"b","peer":"a"}`,
			Event{Kind: ConversationRead, User: "b", Peer: "a"}},
		{`{"type":"message.recalled","message":"m","user":"a","group":"g"}`,
			Event{Kind: MessageRecalled, Message: "m", User: "a", Group: "g"}},
		{`{"type":"group.created","group":"g","owner":"o","members":["a","b"],"admins":["c"]}`,
			Event{Kind: GroupCreated, Group: "g", User: "o", Members: []string{"a", "b"}, Admins: []string{"c"}}},
		{`{"type":"group.created","group":"g","owner":"o","members":[]}`,
			Event{Kind: GroupCreated, Group: "g", User: "o"}},
		{`{"type":"group.joined","group":"g","user":"a"}`, Event{Kind: GroupJoined, Group: "g", User: "a"}},
		{`{"type":"group.left","group":"g","user":"a"}`, Event{Kind: GroupLeft, Group: "g", User: "a"}},
		{`{"type":"group.role","group":"g","user":"a","role":"admin"}`,
			Event{Kind: GroupRole, Group: "g", User: "a", Role: RoleAdmin}},
		{`{"type":"group.role","group":"g","user":"a","role":"member"}`,
			Event{Kind: GroupRole, Group: "g", User: "a", Role: RoleMember}},
		{`{"type":"group.role","group":"g","user":"a","role":"owner"}`,
			Event{Kind: GroupRole, Group: "g", User: "a", Role: RoleOwner}},
		{`{"type":"group.dissolved","group":"g"}`, Event{Kind: GroupDissolved, Group: "g"}},

		{`{"group":"g","time":1700000000123,"type":"group.dissolved"}`,
			Event{Kind: GroupDissolved, Group: "g", Time: 1700000000123}},
		{`{"type":"group.dissolved","group":"g","time":"2023-11-14T22:13:20.1239Z"}`,
			Event{Kind: GroupDissolved, Group: "g", Time: 1700000000123}},
		{`{"type":"group.dissolved","group":"g","time":"2023-11-15T06:13:20+08:00"}`,
			Event{Kind: GroupDissolved, Group: "g", Time: 1700000000000}},
		{`{"type":"group.dissolved","group":"g","time":0}`, Event{Kind: GroupDissolved, Group: "g"}},
		{`{"type":"group.dissolved","group":"g","time":1.0}`, Event{Kind: GroupDissolved, Group: "g", Time: 1}},
		{`{"type":"group.dissolved","group":"g","time":17.0e11}`, Event{Kind: GroupDissolved, Group: "g", Time: 1700000000000}},
		{`{"type":"group.dissolved","group":"g","time":"2023-11-14t22:13:20.120z"}`, Event{Kind: GroupDissolved, Group: "g", Time: 1700000000120}},
		{`{"type":"group.dissolved","group":"g","time":"2023-11-14T22:13:20.` + strings.Repeat("1", 200) + `z"}`, Event{Kind: GroupDissolved, Group: "g", Time: 1700000000111}},
		{`{"type":"message.read","message":"m","user":"b","group":null,"peer":"a","strict":null,"content":null,"time":null,"event_id":null}`,
			Event{Kind: MessageRead, Message: "m", User: "b", Peer: "a"}},
		{" {\t\"type\" : \"group.dissolved\"\r,\"group\": \"g\" } ", Event{Kind: GroupDissolved, Group: "g"}},
		{`{"\u0074ype":"group.\u0064issolved","group":"g\"\\\ud83d\ude00"}`,
			Event{Kind: GroupDissolved, Group: `g"\😀`}},
	}
	for _, test := range tests {
		for _, format := range []Format{FormatJSON, FormatNDJSON} {
			got, err := decodeAll(&Decoder{}, test.json, format)
			if err != nil {
				t.Errorf("%s: %v", test.json, err)
			} else if !reflect.DeepEqual(got, []Event{test.want}) {
				t.Errorf("%s:\ngot  %+v\nwant %+v", test.json, got[0], test.want)
			}
		}
	}
}

func TestDecodeReadsEveryForm(t *testing.T) {
	const g, h = `{"type":"group.dissolved","group":"g"}`, `{"type":"group.dissolved","group":"h"}`
	for _, test := range []struct {
		name, body string
		format     Format
	}{
		{"array", "[" + g + "," + h + "]", FormatJSON},
		{"array with space", " [\n" + g + " ,\n\n" + h + "\n]\n", FormatJSON},
		{"lines", g + "\n" + h + "\n", FormatNDJSON},
		{"no last newline", g + "\n" + h, FormatNDJSON},
		{"blank lines and CR", "\n\r\n" + g + "\r\n \t\n" + h + "\r\n\n", FormatNDJSON},
	} {
		got, err := decodeAll(&Decoder{}, test.body, test.format)
		if err != nil || len(got) != 2 || got[0].Group != "g" || got[1].Group != "h" {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	const good = `{"type":"group.dissolved","group":"g"}`
	tests := []struct {
		format Format
		body   string
		want   string
	}{
		{FormatJSON, ``, "events: the body holds no event"},
		{FormatJSON, " \n", "events: the body holds no event"},
		{FormatJSON, `[]`, "events: the body holds no event"},
		{FormatNDJSON, ``, "events: the body holds no event"},
		{FormatNDJSON, "\r\n\n ", "events: the body holds no event"},

		{FormatJSON, `{`, "event 0: malformed JSON at byte 1: unexpected end"},
		{FormatJSON, `{"type"`, "event 0: malformed JSON at byte 7: unexpected end"},
		{FormatJSON, `{"type":`, "event 0: malformed JSON at byte 8: unexpected end"},
		{FormatJSON, `{"type":"group.dissolved"`, "event 0: malformed JSON at byte 25: unexpected end"},
		{FormatJSON, `{"type":"group.dissolved",}`, "event 0: malformed JSON at byte 25: invalid character ',' at start of value"},
		{FormatJSON, `{"type" "group.dissolved"}`, "event 0: malformed JSON at byte 8: invalid character '\"' after object name (expecting ':')"},
		{FormatJSON, `{type:"group.dissolved"}`, "event 0: malformed JSON at byte 2: invalid character 'y' in literal true (expecting 'r')"},
		{FormatJSON, `{"type":"group.dissolved" "group":"g"}`, "event 0: malformed JSON at byte 26: invalid character '\"' after object value (expecting ',' or '}')"},
		{FormatJSON, `{'type':1}`, "event 0: malformed JSON at byte 1: invalid character '\\'' at start of value"},
		{FormatJSON, `{1:2}`, "event 0: malformed JSON at byte 1: object member name must be a string"},
		{FormatJSON, "{\"type\":\"a\nb\"}", "event 0: malformed JSON at byte 10: invalid character '\\n' in string (expecting non-control character)"},
		{FormatJSON, "{\"type\":\"group.dissolved\",\"group\":\"a\tb\"}", "event 0: malformed JSON at byte 36: invalid character '\\t' in string (expecting non-control character)"},
		{FormatJSON, "{\"type\":\"message.read\",\"message\":\"m\",\"user\":\"b\",\"group\":\"g\",\"content\":\"\t\"}", "event 0: malformed JSON at byte 71: invalid character '\\t' in string (expecting non-control character)"},
		{FormatJSON, `{"type":"group.dissolved","group":"\x"}`, "event 0: malformed JSON at byte 35: invalid escape sequence `\\x` in string"},
		{FormatJSON, `{"type":"group.dissolved","group":"\ud800"}`, "event 0: malformed JSON at byte 35: invalid surrogate pair `\\ud800\"}` in string"},
		{FormatJSON, "{\"type\":\"group.dissolved\",\"group\":\"\xff\"}", "event 0: malformed JSON at byte 35: invalid UTF-8"},
		{FormatJSON, `{"type":"message.sent","receipt":truth}`, "event 0: malformed JSON at byte 36: invalid character 't' in literal true (expecting 'e')"},
		{FormatJSON, "\ufeff" + good, "event 0: a byte order mark at the beginning: send UTF-8 without one"},
		{FormatJSON, `null`, "event 0: not a JSON object but null"},
		{FormatJSON, `"x"`, "event 0: not a JSON object but a string"},
		{FormatJSON, `[1]`, "event 0: not a JSON object but a number"},
		{FormatJSON, `[[` + good + `]]`, "event 0: not a JSON object but an array"},
		{FormatJSON, strings.Repeat("[", 1<<20), "event 0: not a JSON object but an array"},
		{FormatNDJSON, strings.Repeat("[", 1<<20), "event 0: not a JSON object but an array"},
		{FormatNDJSON, `[` + good + `]`, "event 0: not a JSON object but an array"},
		{FormatJSON, `{"type":` + strings.Repeat("[", 1<<20), "event 0: type: an array, not a string"},
		{FormatJSON, `{"members":` + strings.Repeat("[", 1<<20), "event 0: members[0]: an array, not a string"},

		{FormatJSON, good + good, "event 0: malformed JSON: '{' after the event"},
		{FormatJSON, good + "\n" + good, "event 0: malformed JSON: '{' after the event"},
		{FormatNDJSON, good + "\n" + good + "," + good, "event 1: malformed JSON: ',' after the event"},
		{FormatNDJSON, good + "\n" + "x", "event 1: malformed JSON at byte 0: invalid character 'x' at start of value"},
		{FormatNDJSON, "{\"type\":\"group.dissolved\",\n\"group\":\"g\"}", "event 0: malformed JSON at byte 26: unexpected end"},
		{FormatJSON, "[" + good, "event 0: malformed JSON: the array does not end"},
		{FormatJSON, "[" + good + ",", "event 1: malformed JSON: the array does not end"},
		{FormatJSON, "[", "event 0: malformed JSON: the array does not end"},
		{FormatJSON, "[" + good + good + "]", "event 0: malformed JSON: '{' after the event"},
		{FormatJSON, "[" + good + ",]", "event 1: malformed JSON at byte 0: invalid character ']' at start of value"},
		{FormatJSON, "[" + good + "]x", "event 0: malformed JSON: data after the array"},
		{FormatJSON, "[]x", "event 0: malformed JSON: data after the array"},

		{FormatJSON, `{}`, "event 0: type: missing"},
		{FormatJSON, `{"group":"g"}`, "event 0: type: missing"},
		{FormatJSON, `{"type":""}`, `event 0: type: unknown type ""`},
		{FormatJSON, `{"type":"message.reed"}`, `event 0: type: unknown type "message.reed"`},
		{FormatJSON, `{"type":"Message.Read"}`, `event 0: type: unknown type "Message.Read"`},
		{FormatJSON, `{"type":null}`, "event 0: type: null, not a string"},
		{FormatJSON, `{"type":2}`, "event 0: type: a number, not a string"},
		{FormatJSON, `{"type":"app.configured","settings":{},"revision":1}`, "event 0: type: app.configured events are made by receiptd itself"},
		{FormatJSON, `{"type":"statistic.seen","user":"a","upto":1}`, "event 0: type: statistic.seen events are made by receiptd itself"},

		{FormatNDJSON, good + "\n\n" + `{"type":"message.read","user":"b","group":"g"}`, "event 1: message: missing"},
		{FormatJSON, `[` + good + `,{"type":"message.sent","message":"m","from":"a","group":"g"}]`, "event 1: message: not allowed in message.sent"},
		{FormatJSON, `{"type":"message.read","message":"m","id":"m","user":"b","group":"g"}`, "event 0: id: not allowed in message.read"},
		{FormatJSON, `{"type":"message.read","message":"m","from":"b","group":"g"}`, "event 0: from: not allowed in message.read"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b"}`, "event 0: group: missing: name a group or a peer"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b","group":"g","peer":"a"}`, "event 0: peer: not allowed beside group"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b","group":"g","peer":""}`, "event 0: peer: not allowed beside group"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b","group":""}`, "event 0: group: empty"},
		{FormatJSON, `{"type":"message.read","message":"","user":"b","group":"g"}`, "event 0: message: empty"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b","peer":"b"}`, "event 0: peer: the same user as user"},
		{FormatJSON, `{"type":"message.delivered","message":"m","user":"b","group":"g"}`, "event 0: group: not allowed in message.delivered"},
		{FormatJSON, `{"type":"message.sent","id":"m","from":"a","peer":"b","receipt":true}`, "event 0: receipt: only for messages to a group"},
		{FormatJSON, `{"type":"message.sent","id":"m","from":"a","group":"g","strict":false}`, "event 0: strict: not allowed in message.sent"},
		{FormatJSON, `{"type":"group.created","group":"g","owner":"o"}`, "event 0: members: missing"},
		{FormatJSON, `{"type":"group.created","group":"g","owner":"o","members":["a",""]}`, "event 0: members[1]: empty"},

		{FormatJSON, `{"type":"group.dissolved","group":"g","app":"x"}`, "event 0: app: unknown field"},
		{FormatJSON, `{"type":"group.dissolved","Group":"g"}`, "event 0: Group: unknown field"},
		{FormatJSON, `{"type":"group.dissolved","":"g"}`, `event 0: "": unknown field`},
		{FormatJSON, `{"type":"message.read","upto":1}`, "event 0: upto: a number, not a string"},
		{FormatJSON, `{"type":"group.dissolved","` + strings.Repeat("x", 300) + `":1}`, "event 0: " + strings.Repeat("x", 200) + "…: unknown field"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","group":"g"}`, "event 0: group: repeated"},
		{FormatJSON, `{"type":"group.dissolved","type":"group.dissolved","group":"g"}`, "event 0: type: repeated"},

		{FormatJSON, `{"type":"group.dissolved","group":7}`, "event 0: group: a number, not a string"},
		{FormatJSON, `{"type":"group.dissolved","group":null}`, "event 0: group: missing"},
		{FormatJSON, `{"type":"group.dissolved","group":["g"]}`, "event 0: group: an array, not a string"},
		{FormatJSON, `{"type":"group.dissolved","group":{"id":"g"}}`, "event 0: group: an object, not a string"},
		{FormatJSON, `{"type":"group.dissolved","group":true}`, "event 0: group: a boolean, not a string"},
		{FormatJSON, `{"type":"message.sent","receipt":"true"}`, "event 0: receipt: a string, not true or false"},
		{FormatJSON, `{"type":"message.sent","receipt":1}`, "event 0: receipt: a number, not true or false"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","peer":null}`, "event 0: peer: not allowed in group.dissolved"},
		{FormatJSON, `{"type":"message.read","user":null}`, "event 0: user: null, not a string"},
		{FormatJSON, `{"type":"message.read","group":null,"group":"g"}`, "event 0: group: repeated"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b","group":null}`, "event 0: group: missing: name a group or a peer"},
		{FormatJSON, good + "é", "event 0: malformed JSON: 'é' after the event"},
		{FormatJSON, "[" + good + "é", "event 0: malformed JSON: 'é' after the event"},
		{FormatJSON, `{"type":"group.created","members":"a"}`, "event 0: members: a string, not an array of strings"},
		{FormatJSON, `{"type":"group.created","members":["a",1]}`, "event 0: members[1]: a number, not a string"},
		{FormatJSON, `{"type":"group.created","members":["` + strings.Repeat(`a","`, MaxFirstMembers) + `a"]}`, "event 0: members: more than 5000 members and admins"},
		{FormatJSON, `{"type":"group.created","admins":[null]}`, "event 0: admins[0]: null, not a string"},
		{FormatJSON, `{"type":"group.role","group":"g","user":"a","role":"boss"}`, "event 0: role: none of owner, admin and member"},
		{FormatJSON, `{"type":"group.role","group":"g","user":"a","role":2}`, "event 0: role: a number, not a string"},

		{FormatJSON, `{"type":"group.dissolved","group":"g","time":true}`, "event 0: time: a boolean, not a string or number"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":"yesterday"}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":"2023-11-14 22:13:20Z"}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":""}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":1700000000123.5}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":1.7e-3}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":1e99999999}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":1e-99999999}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":99999999999999999999}`, "event 0: time: neither RFC 3339 nor whole Unix milliseconds"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":-1}`, "event 0: time: not between the years 1970 and 9999"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":"1969-12-31T23:59:59Z"}`, "event 0: time: not between the years 1970 and 9999"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":253402300800000}`, "event 0: time: not between the years 1970 and 9999"},
		{FormatJSON, `{"type":"group.dissolved","group":"g","time":01}`, "event 0: malformed JSON at byte 46: invalid character '1' after object value (expecting ',' or '}')"},

		{FormatJSON, `{"type":"group.dissolved","group":"` + strings.Repeat("x", 129) + `"}`, "event 0: group: 129 bytes, at most 128"},
		{FormatJSON, `{"type":"group.dissolved","group":"a\u0000b"}`, "event 0: group: control character U+0000"},
		{FormatJSON, "{\"type\":\"group.dissolved\",\"group\":\"a\x7f\"}", "event 0: group: control character U+007F"},
		{FormatJSON, `{"type":"message.read","message":"m","user":"b","group":"g","content":"` + strings.Repeat("c", 4097) + `"}`, "event 0: content: 4097 bytes, at most 4096"},
	}
	var d Decoder // one for all: no failure leaves anything behind
	for _, test := range tests {
		_, err := decodeAll(&d, test.body, test.format)
		if got := errorText(err); got != test.want {
			t.Errorf("%.100s:\ngot  %s\nwant %s", test.body, got, test.want)
		}
		if _, ok := errors.AsType[*EventError](err); !ok && !errors.Is(err, ErrNoEvents) {
			t.Errorf("%.100s: error is %T", test.body, err)
		}
	}
}

// TestParseTimeKeepsToTheRFC: what package time takes beyond it.
func TestParseTimeKeepsToTheRFC(t *testing.T) {
	for _, good := range []string{
		"2026-03-01T12:00:00Z", "2026-03-01t12:00:00z", "2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.123456789123Z",
		"2026-03-01T12:00:00+23:59", "2024-02-29T00:00:00-08:00", "9999-12-31T23:59:59Z",
	} {
		if _, ok := ParseTime(good); !ok {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{
		"", "2026-03-01", "2026-03-01T12:00:00", "2026-03-01 12:00:00Z", "2026-03-01T1:00:00Z", "2026-03-01T12:00Z",
		"2026-03-01T12:00:00,5Z", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00+24:00", "2026-03-01T12:00:00+00:60", "2026-03-01T12:00:00+0800",
		"2026-03-01T12:00:00+08", "2026-03-01T24:00:00Z", "2026-03-01T23:60:00Z", "2026-03-01T23:59:60Z", "2026-02-29T00:00:00Z", "2026-3-01T12:00:00Z",
		"12026-03-01T12:00:00Z", "-026-03-01T12:00:00Z", "2026-03-01T12:00:00ZZ", "2026-03-01T12:00:00+-8:00", "２０２６-03-01T12:00:00Z",
	} {
		if ms, ok := ParseTime(bad); ok {
			t.Errorf("%s is read as %d", bad, ms)
		}
	}
}

func TestDecodeReturnsTheErrorOfItsCallback(t *testing.T) {
	stop := errors.New("stop")
	const g = `{"type":"group.dissolved","group":"g"}`
	for _, body := range []string{g, "[" + g + "," + g + "]"} {
		calls := 0
		err := new(Decoder).Decode([]byte(body), FormatJSON, func(int, *Event) error { calls++; return stop })
		if err != stop || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	}
}

// What AppendJSON writes, Decode reads: as one body of many events, so that strings and lists of
// the earlier ones are seen to survive the later ones.
func TestJSONRoundTrip(t *testing.T) {
	var d Decoder
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "events")
		format := rapid.SampledFrom([]Format{FormatJSON, FormatNDJSON}).Draw(t, "format")
		want := make([]Event, n)
		var parts []string
		for i := range want {
			want[i] = drawPublic(t)
			parts = append(parts, string(AppendJSON(nil, &want[i])))
			want[i].App = ""
		}
		body := strings.Join(parts, "\n")
		if format == FormatJSON {
			body = "[" + strings.Join(parts, ",") + "]"
		}
		got, err := decodeAll(&d, body, format)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("event %d of %s\ngot  %+v\nwant %+v", i, body, got[i], want[i])
			}
		}
	})
}

func TestAppendJSONOfInternalKinds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t, AppConfigured, UserConfigured)
		text := AppendJSON(nil, &e)
		var got struct {
			Type     string    `json:"type"`
			User     string    `json:"user"`
			Settings *Settings `json:"settings"`
			Revision uint64    `json:"revision"`
			Upto     uint64    `json:"upto"`
			Device   string    `json:"device"`
			Time     string    `json:"time"`
			Group    string    `json:"group"`
			Peer     string    `json:"peer"`
			Reads    *bool     `json:"send_read_receipts"`
			Delivers *bool     `json:"send_delivery_receipts"`
		}
		if err := json.Unmarshal(text, &got, json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		back := Event{App: e.App, User: got.User, Settings: got.Settings, Revision: got.Revision, Upto: got.Upto, Device: got.Device, Group: got.Group, Peer: got.Peer}
		back.SendReads, back.SendDeliveries = choiceOf(got.Reads), choiceOf(got.Delivers)
		back.Kind, _ = kindByName(got.Type)
		if got.Time != "" {
			back.Time, _ = parseTime(got.Time)
		}
		if !reflect.DeepEqual(back, e) {
			t.Fatalf("%s\ngot  %+v\nwant %+v", text, back, e)
		}
	})
}

func choiceOf(send *bool) Choice {
	switch {
	case send == nil:
		return ChoiceNone
	case *send:
		return ChoiceSend
	}
	return ChoiceHide
}

func TestAppendJSONIsStable(t *testing.T) {
	settings := DefaultSettings()
	for _, test := range []struct {
		event Event
		want  string
	}{
		{Event{Kind: MessageSent, Message: "m", User: "a", Group: "g", Receipt: true, Time: 1700000000120},
			`{"type":"message.sent","id":"m","from":"a","group":"g","receipt":true,"time":"2023-11-14T22:13:20.120Z"}`},
		{Event{Kind: MessageRead, Message: `m"<&>`, User: "é\u2028", Peer: "a", Content: "x\ny\x01", Strict: true},
			`{"type":"message.read","message":"m\"<&>","user":"é` + "\u2028" + `","peer":"a","strict":true,"content":"x\ny\u0001"}`},
		{Event{Kind: GroupCreated, Group: "g", User: "o"},
			`{"type":"group.created","owner":"o","group":"g","members":[]}`},
		{Event{Kind: GroupCreated, Group: "g", User: "o", Members: []string{"a", "b"}, Admins: []string{"c"}, Time: 1},
			`{"type":"group.created","owner":"o","group":"g","members":["a","b"],"admins":["c"],"time":"1970-01-01T00:00:00.001Z"}`},
		{Event{Kind: GroupRole, Group: "g", User: "a", Role: RoleAdmin, Time: maxTime},
			`{"type":"group.role","user":"a","group":"g","role":"admin","time":"9999-12-31T23:59:59.999Z"}`},
		{Event{Kind: AppConfigured, Settings: &settings, Revision: 3},
			`{"type":"app.configured","settings":{"delivery_receipts":true,"group_receipts":{"enabled":false,"who_may_request":"members","validity":"72h","max_group_size":200,"visibility":"sender","max_requests_per_group_per_day":0},"single_receipts":{"validity":"168h"},"read_receipts":"user","reciprocal_read_receipts":false,"unread_by":"conversation","open_registration":false},"revision":3}`},
		{Event{Kind: UserConfigured, User: "a", Group: "g", SendReads: ChoiceHide, SendDeliveries: ChoiceSend, Revision: 2},
			`{"type":"user.configured","user":"a","group":"g","revision":2,"send_read_receipts":false,"send_delivery_receipts":true}`},
		{Event{Kind: StatisticSeen, User: "a", Upto: 9}, `{"type":"statistic.seen","user":"a","upto":9}`},
		{Event{Kind: StatisticSeen, User: "a", Upto: 9, Device: "phone"}, `{"type":"statistic.seen","user":"a","upto":9,"device":"phone"}`},
		{Event{Kind: RulesLevel, Revision: 2}, `{"type":"rules.level","revision":2}`},
		{Event{Kind: LogRepartitioned, Revision: 8}, `{"type":"log.repartitioned","revision":8}`},
		{Event{}, `{"type":"unknown"}`},
	} {
		if got := string(AppendJSON([]byte("x"), &test.event)); got != "x"+test.want {
			t.Errorf("\ngot  %s\nwant x%s", got, test.want)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	lines := string(receiptLines(100)) +
		`{"type":"message.read","message":"m","user":"b","group":"g","content":"\u4f60","time":"2023-11-15T06:13:20Z"}` + "\n" +
		`{"type":"group.created","group":"g","owner":"o","members":["a","b"]}` + "\n"
	var d Decoder
	if n := testing.AllocsPerRun(20, func() {
		if err := d.Decode([]byte(lines), FormatNDJSON, func(int, *Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // the body itself
		t.Errorf("%v allocations", n)
	}
}
