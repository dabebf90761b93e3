package httpapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

// TestBadEvents is what producers get wrong. All of it is 400 with the event and the field named,
// and nothing of the request is appended, although a good event comes before and after.
func TestBadEvents(t *testing.T) {
	h := newHarness(t)
	long := strings.Repeat("x", events.MaxIDBytes+1)
	for _, c := range []struct {
		name, line, field string
	}{
		{"malformed JSON", `{"type":"message.read","message":`, ""},
		{"no JSON at all", `hello`, ""},
		{"two events on a line", readLine + readLine, ""},
		{"not an object", `["message.read"]`, ""},
		{"null", `null`, ""},
		{"unknown type", `{"type":"message.seen","message":"m1","user":"bob","group":"g1"}`, "type"},
		{"no type", `{"message":"m1","user":"bob","group":"g1"}`, "type"},
		{"internal type", `{"type":"statistic.seen","user":"bob"}`, "type"},
		{"missing field", `{"type":"message.read","message":"m1","group":"g1"}`, "user"},
		{"no conversation", `{"type":"message.read","message":"m1","user":"bob"}`, "group"},
		{"two conversations", `{"type":"message.read","message":"m1","user":"bob","group":"g1","peer":"alice"}`, "peer"},
		{"unknown field", `{"type":"message.read","message":"m1","user":"bob","group":"g1","app":"acme#chat"}`, "app"},
		{"field of another type", `{"type":"message.read","id":"m1","user":"bob","group":"g1"}`, "id"},
		{"repeated field", `{"type":"message.read","message":"m1","user":"bob","user":"carol","group":"g1"}`, "user"},
		{"null field", `{"type":"message.read","message":"m1","user":null,"group":"g1"}`, "user"},
		{"number for an id", `{"type":"message.read","message":1,"user":"bob","group":"g1"}`, "message"},
		{"empty id", `{"type":"message.read","message":"","user":"bob","group":"g1"}`, "message"},
		{"over-long id", `{"type":"message.read","message":"` + long + `","user":"bob","group":"g1"}`, "message"},
		{"control character", `{"type":"message.read","message":"m\u00071","user":"bob","group":"g1"}`, "message"},
		{"invalid UTF-8", "{\"type\":\"message.read\",\"message\":\"m\xff1\",\"user\":\"bob\",\"group\":\"g1\"}", ""},
		{"long content", `{"type":"message.read","message":"m1","user":"bob","group":"g1","content":"` + strings.Repeat("x", events.MaxContentBytes+1) + `"}`, "content"},
		{"receipt in a single chat", `{"type":"message.sent","id":"m1","from":"bob","peer":"alice","receipt":true}`, "receipt"},
		{"delivery in a group", `{"type":"message.delivered","message":"m1","user":"bob","group":"g1"}`, "group"},
		{"chat with oneself", `{"type":"conversation.read","user":"bob","peer":"bob"}`, "peer"},
		{"unknown role", `{"type":"group.role","group":"g1","user":"bob","role":"boss"}`, "role"},
		{"time that is none", `{"type":"message.read","message":"m1","user":"bob","group":"g1","time":"yesterday"}`, "time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := h.want(ndjson(readLine, c.line, readLine), 400, "invalid_event")
			field, _ := a.field(t, "error", "field").(string)
			if a.field(t, "error", "index") != 1.0 || field != c.field {
				t.Errorf("got %s, want event 1 and field %q", a.body, c.field)
			}
			if got := h.log.taken(); len(got) > 0 {
				t.Errorf("%d events were appended", len(got))
			}
		})
	}
	for name, rq := range map[string]request{
		"no body": ndjson(), "blank lines": ndjson("", "", ""), "empty array": post("application/json", "[]"),
		"wait": {method: "POST", path: eventsPath + "?wait=forever", contentType: "application/x-ndjson", body: readLine},
	} {
		t.Run(name, func(t *testing.T) {
			rq.wrong = true
			h.want(rq, 400, "invalid_request")
		})
	}
	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application", "application/jsonl"} {
		rq := post(contentType, readLine)
		rq.wrong = true
		h.want(rq, 415, "unsupported_media_type")
	}
}

// TestClientClocksAreTakenAsTheyAre: a time that is years off is no error, and changes nothing that
// the log orders by.
func TestClientClocksAreTakenAsTheyAre(t *testing.T) {
	h := newHarness(t)
	for text, ms := range map[string]int64{
		`"1970-01-01T00:00:00.001Z"`: 1, `"2126-03-01T00:00:00Z"`: 4927996800000, `1`: 1, `253402300799999`: 253402300799999,
	} {
		h.want(ndjson(`{"type":"message.read","message":"m1","user":"bob","group":"g1","time":`+text+`}`), 200, "")
		if got := h.log.taken(); len(got) != 1 || got[0].Time != ms {
			t.Errorf("%s: submitted %+v", text, got)
		}
	}
}

// jwtOf makes a token by hand, so that the test does not share a mistake with the library.
func jwtOf(header, claims, key string) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(header)) + "." + encode([]byte(claims))
	if key == "" {
		return signed + "."
	}
	hash := sha256.New
	if strings.Contains(header, "HS384") {
		hash = sha512.New384
	}
	mac := hmac.New(hash, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// TestBadTokens goes through what must not open a door: always 401, wherever it is tried.
func TestBadTokens(t *testing.T) {
	h := newHarness(t)
	key := string(bytes.Repeat([]byte("k"), gateway.MinTokenKeyBytes))
	hs256 := `{"alg":"HS256","typ":"JWT"}`
	claims := func(app, sub string, exp time.Duration) string {
		return fmt.Sprintf(`{"app":%q,"sub":%q,"exp":%d}`, app, sub, time.Now().Add(exp).Unix())
	}
	good := claims(testApp, "bob", time.Hour)
	path := base + "/users/bob/conversations"
	h.want(request{method: "GET", path: path, token: jwtOf(hs256, good, key)}, 200, "")

	for _, c := range []struct{ name, token, code string }{
		{"none", "-", "unauthorized"},
		{"wrong admin key", testAdminKey + "x", "unauthorized"},
		{"beginning of the admin key", testAdminKey[:5], "unauthorized"},
		{"garbage", "a.b.c", "unauthorized"},
		{"alg none", jwtOf(`{"alg":"none"}`, good, ""), "unauthorized"},
		{"alg none with a signature", jwtOf(`{"alg":"none"}`, good, key), "unauthorized"},
		{"another algorithm", jwtOf(`{"alg":"HS384"}`, good, key), "unauthorized"},
		{"no signature", jwtOf(hs256, good, ""), "unauthorized"},
		{"another key", jwtOf(hs256, good, "another key that is long enough...."), "unauthorized"},
		{"changed claims", changeClaims(jwtOf(hs256, good, key), claims(testApp, "alice", time.Hour)), "unauthorized"},
		{"expired", jwtOf(hs256, claims(testApp, "bob", -time.Second), key), "token_expired"},
		{"expired and forged", jwtOf(hs256, claims(testApp, "bob", -time.Second), key+"x"), "unauthorized"},
		{"no expiry", jwtOf(hs256, `{"app":"acme#chat","sub":"bob"}`, key), "unauthorized"},
		{"no app", jwtOf(hs256, claims("", "bob", time.Hour), key), "unauthorized"},
		{"no user", jwtOf(hs256, claims(testApp, "", time.Hour), key), "unauthorized"},
		{"control character", jwtOf(hs256, claims(testApp, "bob\x01", time.Hour), key), "unauthorized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, rq := range []request{
				{method: "GET", path: path}, {method: "GET", path: base + "/messages/m1"}, {method: "GET", path: base},
				{method: "PUT", path: base}, {method: "GET", path: base + "/users/bob/stream"}, {method: "GET", path: "/v1/apps/no/app"},
			} {
				rq.token = c.token
				if a := h.want(rq, 401, c.code); !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
					t.Error("no WWW-Authenticate")
				}
			}
		})
	}
	for _, header := range []string{"Basic " + testAdminKey, testAdminKey, "Bearer", "Bearer "} {
		h.want(request{method: "GET", path: path, token: "-", header: map[string]string{"Authorization": header}}, 401, "unauthorized")
	}
	h.want(request{method: "GET", path: path, token: "-", header: map[string]string{"Authorization": "bearer " + testAdminKey}}, 200, "")
	// Only streams take the token from the query, where it is seen by others.
	h.want(request{method: "GET", path: path + "?access_token=" + testAdminKey, token: "-"}, 401, "unauthorized")
}

func changeClaims(token, claims string) string {
	parts := strings.Split(token, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(claims))
	return strings.Join(parts, ".")
}

// TestUsersMayOnlyCallWhatIsTheirs tries every route with a user token: of the app, of another app,
// and of an app that is gone.
func TestUsersMayOnlyCallWhatIsTheirs(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	h.state.settings["acme#other"] = events.DefaultSettings()
	other, _, err := h.tokens.Mint("acme#other", "bob", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	gone, _, err := h.tokens.Mint("acme#gone", "bob", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{org}", "acme", "{app}", "chat", "{id}", "m1", "{user}", "alice", "{group}", "g9")
	for _, rt := range h.api.routes() {
		if rt.access == accessOpen {
			continue
		}
		t.Run(rt.method+" "+rt.path, func(t *testing.T) {
			rq := request{method: rt.method, path: fill.Replace(rt.path), token: h.token("bob"), wrong: true}
			nothing := map[string]string{"/messages:counts": `{"counts":{}}`, "/messages:nonreaders": `{"messages":[]}`}[strings.TrimPrefix(rt.path, appPath)]
			if nothing != "" {
				rq.body = `{"ids":["m1"]}`
			}
			switch {
			case nothing != "":
				if a := h.want(rq, 200, ""); string(a.body) != nothing+"\n" {
					t.Errorf("got %s", a.body)
				}
			case rt.access == accessApp:
				h.want(rq, 404, "")
			default:
				h.want(rq, 403, "forbidden")
			}
			rq.token = other
			if !strings.Contains(rt.path, "{app}") {
				h.want(rq, 403, "forbidden") // of no app
				return
			}
			h.want(rq, 404, "app_not_found")
			rq.path = strings.Replace(rq.path, "/acme/chat", "/acme/gone", 1)
			h.want(rq, 404, "app_not_found")
			if rt.creates {
				return
			}
			rq.token = gone
			h.want(rq, 404, "app_not_found")
			rq.token = ""
			h.want(rq, 404, "app_not_found")
		})
	}
	if len(h.log.taken()) > 0 || len(h.commands.seenCalls()) > 0 {
		t.Error("a refused call did something")
	}
}

func TestIDsInPathsAreChecked(t *testing.T) {
	h := newHarness(t)
	for name, id := range map[string]string{
		"over-long": strings.Repeat("x", events.MaxIDBytes+1), "control character": "a%0Ab", "invalid UTF-8": "a%FFb", "C1 control": "a%C2%85b",
	} {
		t.Run(name, func(t *testing.T) {
			h.want(request{method: "GET", path: base + "/messages/" + id, wrong: true}, 400, "invalid_request")
			h.want(request{method: "GET", path: base + "/users/" + id + "/statistics", wrong: true}, 400, "invalid_request")
			h.want(request{method: "POST", path: base + "/users/" + id + "/tokens", wrong: true}, 400, "invalid_request")
		})
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{
		"/v1", "/v2/apps/acme/chat", base + "/", base + "/events/", base + "/message/m1", base + "/messages", base + "/messages//readers",
		base + "/users//stream", base + "/users/bob", "//healthz", "/healthz/", "/v1/apps/acme//events", "/v1/apps/../healthz", "/favicon.ico",
	} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			h.want(request{method: method, path: path, undescribed: true}, 404, "not_found")
		}
	}
	for path, allow := range map[string]string{
		base: "GET, HEAD, PUT", eventsPath: "POST", base + "/messages/m1": "GET, HEAD", base + "/messages:counts": "POST",
		base + "/users/bob/statistics:ack": "POST", "/healthz": "GET, HEAD", "/": "GET, HEAD, POST",
	} {
		for _, method := range []string{"DELETE", "PATCH", "OPTIONS"} {
			a := h.want(request{method: method, path: path}, 405, "method_not_allowed")
			if got := a.header.Get("Allow"); got != allow {
				t.Errorf("%s: Allow %q, want %q", path, got, allow)
			}
		}
	}
	h.want(request{method: "GET", path: eventsPath}, 405, "method_not_allowed")
}
