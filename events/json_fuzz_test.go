package events

import (
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

// plainEvent reads one event with the JSON library's own strictness.
type plainEvent struct {
	Type    string   `json:"type"`
	ID      string   `json:"id"`
	Message string   `json:"message"`
	From    string   `json:"from"`
	User    string   `json:"user"`
	Owner   string   `json:"owner"`
	Group   string   `json:"group"`
	Peer    string   `json:"peer"`
	Receipt bool     `json:"receipt"`
	Strict  bool     `json:"strict"`
	Silent  bool     `json:"silent"`
	Label   string   `json:"label"`
	Content string   `json:"content"`
	Role    string   `json:"role"`
	Members []string `json:"members"`
	Admins  []string `json:"admins"`
	Time    any      `json:"time"`
	EventID string   `json:"event_id"`
	Upto    string   `json:"upto"`
}

// checkAccepted holds for any body: events that Decode accepts are valid, come back from their own
// JSON format, and hold nothing the JSON library reads in another way.
func checkAccepted(t interface{ Fatalf(string, ...any) }, body string, format Format) {
	got, err := decodeAll(&Decoder{}, body, format)
	for i := range got {
		if err := got[i].Validate(); err != nil {
			t.Fatalf("%q: event %d: %v", body, i, err)
		}
		text := string(AppendJSON(nil, &got[i]))
		again, err := decodeAll(&Decoder{}, text, FormatJSON)
		if err != nil || !reflect.DeepEqual(again[0], got[i]) {
			t.Fatalf("%q: event %d written as %s: %v", body, i, text, err)
		}
	}
	if err != nil || len(got) != 1 || format == FormatJSON && skipSpace([]byte(body))[0] == '[' {
		return
	}
	var plain plainEvent
	if err := json.Unmarshal([]byte(body), &plain, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%q was accepted: %v", body, err)
	}
	e := got[0]
	for _, same := range [][2]string{
		{e.Kind.String(), plain.Type}, {e.Message, plain.ID + plain.Message + plain.Upto}, {e.User, plain.From + plain.User + plain.Owner},
		{e.Group, plain.Group}, {e.Peer, plain.Peer}, {e.Content, plain.Content},
		{e.EventID, plain.EventID}, {e.Label, plain.Label},
	} {
		if same[0] != same[1] {
			t.Fatalf("%q: read as %q, not %q", body, same[0], same[1])
		}
	}
	if e.Receipt != plain.Receipt || e.Strict != plain.Strict || e.Silent != plain.Silent || len(e.Members) != len(plain.Members) || len(e.Admins) != len(plain.Admins) {
		t.Fatalf("%q: read as %+v", body, e)
	}
	if ms, ok := plain.Time.(float64); ok && int64(ms) != e.Time {
		t.Fatalf("%q: time read as %d", body, e.Time)
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{
		`{"type":"message.sent","id":"m","from":"a","group":"g","receipt":true}`,
		`{"type":"message.read","message":"m","user":"b","group":"g","content":"看到了","strict":false}`,
		`[{"type":"group.dissolved","group":"g","time":1700000000123},{"type":"group.role","group":"g","user":"a","role":"admin"}]`,
		`{"type":"group.created","group":"g","owner":"o","members":["a","b"],"admins":["\ud83d\ude00"]}`,
		"\n{\"type\":\"group.dissolved\",\"group\":\"g\",\"time\":\"2023-11-15T06:13:20+08:00\"}\r\n\n{}",
		`{"type":"group.dissolved","group":"a\u0000","time":0}x`,
		`[{"type":"group.dissolved","group":"g"},]`,
		`{"time":-0,"type":"group.dissolved","group":"g"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		checkAccepted(t, body, FormatJSON)
		checkAccepted(t, body, FormatNDJSON)
	})
}

// Bodies made of JSON's pieces, near enough to events that many are accepted and many are not.
func TestDecodeAcceptsOnlyWhatIsStrictlyRight(t *testing.T) {
	space := rapid.SampledFrom([]string{"", "", "", " ", "\t", "\r", "\n"})
	name := rapid.OneOf(rapid.SampledFrom(fieldNames[:]), rapid.SampledFrom([]string{"", "x", `t\u0079pe`, "Type"}))
	value := rapid.OneOf(
		rapid.Map(rapid.SampledFrom(kindNames[1:]), func(s string) string { return `"` + s + `"` }),
		rapid.SampledFrom([]string{
			`"a"`, `"b"`, `""`, `"é"`, "\"\xff\"", "\"\x7f\"", "\"\t\"", `"\n"`, `"\u0061"`, `"\ud800"`, `"admin"`, `"member"`, `"owner"`,
			`true`, `false`, `tru`, `null`, `0`, `-0`, `-1`, `01`, `1.0`, `1e3`, `1700000000123`, `9999999999999999`, `253402300799999`,
			`"2023-11-15T06:13:20Z"`, `"2023-11-15T06:13:20,5Z"`, `"2023-11-15T6:13:20Z"`, `[]`, `["a"]`, `["a",]`, `[1]`, `{}`, `"`, ``,
		}),
	)
	member := rapid.Custom(func(t *rapid.T) string {
		return space.Draw(t, "s") + `"` + name.Draw(t, "name") + `"` + space.Draw(t, "s") + `:` + space.Draw(t, "s") + value.Draw(t, "value") + space.Draw(t, "s")
	})
	body := rapid.Custom(func(t *rapid.T) string {
		e := drawPublic(t)
		body := string(AppendJSON(nil, &e))
		for range rapid.IntRange(0, 2).Draw(t, "more") {
			body = body[:len(body)-1] + "," + member.Draw(t, "member") + "}"
		}
		return body + rapid.SampledFrom([]string{"", "", "\n", " ", "x", ",", "}"}).Draw(t, "tail")
	})
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			body := body.Draw(t, "body")
			checkAccepted(t, body, FormatNDJSON)
			checkAccepted(t, body, FormatJSON)
			checkAccepted(t, "["+body+","+body+"]", FormatJSON)
		}
	})
}
