package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/schema"
)

// TestDescriptionAndServerAgree changes good bodies in all ways, and asks the description's schema
// and the server about each: what one takes the other takes.
func TestDescriptionAndServerAgree(t *testing.T) {
	h := newHarness(t)
	for _, c := range []struct {
		pointer string // of the schema
		rq      request
		seeds   []string
		n       int
	}{
		{"/components/schemas/Event", post("application/json", ""), eventSeeds, 6000},
		{"/components/schemas/EventsBody", post("application/json", ""), []string{"[" + strings.Join(eventSeeds[:3], ",") + "]"}, 500},
		{"/components/schemas/SettingsChange", request{method: "PUT", path: base}, []string{
			`{"delivery_receipts":false,"group_receipts":{"enabled":true,"who_may_request":"admins","validity":"1h30m","max_group_size":5,"visibility":"members","max_requests_per_group_per_day":3},"single_receipts":{"validity":"0"},"open_registration":true}`,
		}, 2000},
		{"/paths/~1v1~1apps~1{org}~1{app}~1messages:counts/post/requestBody/content/application~1json/schema", request{method: "POST", path: base + "/messages:counts"}, []string{`{"ids":["m1","m2"]}`}, 500},
		{"/paths/~1v1~1apps~1{org}~1{app}~1users~1{user}~1tokens/post/requestBody/content/application~1json/schema", request{method: "POST", path: base + "/users/bob/tokens"}, []string{`{"ttl":"24h"}`}, 500},
	} {
		t.Run(c.pointer, func(t *testing.T) {
			described := compiled(t, c.pointer)
			random := rand.New(rand.NewPCG(1, 2))
			verdicts := map[bool]int{}
			for i := range c.n {
				body := c.seeds[i%len(c.seeds)]
				for range random.IntN(3) {
					body = mutate(random, body)
				}
				value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				problem := described.Validate(value)
				rq := c.rq
				rq.body = body
				w := httptest.NewRecorder()
				h.api.ServeHTTP(w, rq.build(t, "http://receiptd"))
				h.log.taken()
				if w.Code != 200 && w.Code != 400 {
					t.Fatalf("%s\n%d %s", body, w.Code, w.Body)
				}
				if taken := w.Code == 200; taken != (problem == nil) && (taken || !unsayable(w.Body.String())) {
					t.Errorf("%s\nserver: %d %s\nschema: %v", body, w.Code, w.Body, problem)
				}
				verdicts[problem == nil]++
			}
			if verdicts[true] < c.n/10 || verdicts[false] < c.n/10 {
				t.Errorf("the mutations show little: %v", verdicts)
			}
		})
	}
}

// unsayable reports whether the server refused what a schema has no words for, so that the
// description says it in its own.
func unsayable(answer string) bool {
	return slices.ContainsFunc([]string{
		"bytes, at most",                 // a schema counts characters
		"the same user as",               // it compares no fields
		"not between the years 1970",     // on the first and the last day it depends on the offset
		"neither RFC 3339 nor",           // nor does it know how long a month is
		"more than 5000 members and",     // it adds nothing up
		"not a duration from 1s to",      // nor has it an order of durations
		"not a duration like 72h: \\\"9", // which end after 292 years
	}, func(s string) bool { return strings.Contains(answer, s) })
}

var eventSeeds = []string{
	`{"type":"message.read","message":"m1","user":"bob","group":"g1","content":"on it","strict":true,"time":1700000000000,"event_id":"e1"}`,
	`{"type":"message.read","message":"m1","user":"bob","peer":"alice","time":"2026-03-01T12:00:00.000Z"}`,
	`{"type":"message.sent","id":"m1","from":"alice","group":"g1","receipt":true}`,
	`{"type":"message.sent","id":"m1","from":"alice","peer":"bob","receipt":false}`,
	`{"type":"message.delivered","message":"m1","user":"bob","peer":"alice","strict":false}`,
	`{"type":"conversation.read","user":"bob","group":"g1","upto":"m1"}`,
	`{"type":"message.recalled","message":"m1","user":"alice","peer":"bob"}`,
	`{"type":"group.created","group":"g1","owner":"alice","members":["bob","carol"],"admins":["bob"]}`,
	`{"type":"group.joined","group":"g1","user":"bob"}`,
	`{"type":"group.left","group":"g1","user":"bob"}`,
	`{"type":"group.role","group":"g1","user":"bob","role":"admin"}`,
	`{"type":"group.dissolved","group":"g1"}`,
}

// values are what clients put where something else is meant. They are JSON.
var values = []string{
	"null", "true", "false", "0", "1", "-1", "1.0", "1.5", "1e3", "17e11", "253402300799999", "253402300800000", "99999999999999999999", `""`, `"x"`, `"0"`,
	`"bob"`, `"alice"`, `"a\u0000b"`, `"a\u0085b"`, `"` + strings.Repeat("x", 64) + `"`, `"` + strings.Repeat("x", 65) + `"`, `"` + strings.Repeat("x", 128) + `"`,
	`"` + strings.Repeat("x", 129) + `"`, `"` + strings.Repeat("é", 128) + `"`, `"` + strings.Repeat("x", events.MaxContentBytes+1) + `"`,
	"[]", "{}", `["bob"]`, `["bob",1]`, `[null]`, `{"a":1}`,
	`"2026-03-01T12:00:00Z"`, `"2026-03-01t12:00:00.5z"`, `"2026-03-01T1:00:00Z"`, `"2026-03-01T12:00:00,5Z"`, `"2026-03-01T12:00:00+24:00"`, `"2026-03-01T12:00:00+08:00"`,
	`"2026-02-30T12:00:00Z"`, `"2026-03-01T12:00:60Z"`, `"1969-12-31T23:59:59Z"`, `"1970-01-01T00:00:00Z"`, `"1970-01-01T00:00:00+01:00"`, `"9999-12-31T23:59:59-01:00"`, `"2026-03-01"`,
	`"1h"`, `"+1h"`, `"-1h"`, `"1.5h"`, `".5h"`, `"1.h"`, `"1.0001s"`, `"1.5ms"`, `"1us"`, `"1h1h"`, `"1d"`, `"0s"`, `"9999999h"`, `" 1h"`, `"72"`,
	`"admin"`, `"member"`, `"owner"`, `"members"`, `"sender"`, `"message.read"`, `"message.sent"`, `"group.left"`, `"app.configured"`,
}

var names = []string{
	"type", "id", "message", "from", "user", "owner", "group", "peer", "receipt", "strict", "content", "role", "members", "admins", "time", "event_id", "upto",
	"x", "", "Group", "enabled", "validity", "max_group_size", "ids", "ttl", "cursor", "group_receipts",
}

// mutate changes one thing in a body: a value, a field too many, one that is missing or has another
// name, or the whole.
func mutate(random *rand.Rand, body string) string {
	if random.IntN(50) == 0 {
		return pick(random, values)
	}
	var root any
	decoder := json.NewDecoder(strings.NewReader(body))
	decoder.UseNumber() // or 1.0 becomes 1
	if err := decoder.Decode(&root); err != nil {
		panic(err)
	}
	// Somewhere on the way down.
	at := root
	var parents []any
	for {
		parents = append(parents, at)
		var below []any
		switch v := at.(type) {
		case map[string]any:
			for _, name := range sortedKeys(v) {
				below = append(below, v[name])
			}
		case []any:
			below = v
		}
		below = slices.DeleteFunc(slices.Clone(below), func(v any) bool {
			switch v.(type) {
			case map[string]any, []any:
				return false
			}
			return true
		})
		if len(below) == 0 || random.IntN(2) == 0 {
			break
		}
		at = pick(random, below)
	}
	value := json.RawMessage(pick(random, values))
	switch v := parents[len(parents)-1].(type) {
	case map[string]any:
		name := pick(random, names)
		if keys := sortedKeys(v); len(keys) > 0 && random.IntN(3) > 0 {
			name = pick(random, keys)
			if random.IntN(4) == 0 {
				if random.IntN(2) == 0 {
					v[pick(random, names)] = v[name]
				}
				delete(v, name)
				break
			}
		}
		v[name] = value
	case []any:
		if len(v) > 0 {
			v[random.IntN(len(v))] = value
		}
	default:
		return string(value)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(root); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func pick[T any](random *rand.Rand, list []T) T { return list[random.IntN(len(list))] }

// document is the description for a validator of JSON Schema that knows nothing of OpenAPI.
var document = sync.OnceValues(func() (any, error) {
	var doc any
	if err := yaml.Unmarshal(schema.OpenAPI, &doc); err != nil {
		return nil, err
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
})

func compiled(t *testing.T, pointer string) *jsonschema.Schema {
	t.Helper()
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.yaml", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(fmt.Sprintf("openapi.yaml#%s", strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
