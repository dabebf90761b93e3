package httpapi

import (
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// Heads are for everybody, and nothing that has the hash of a single entry is.
func TestWhoMaySeeProofsOfTheLog(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for _, path := range []string{
		"/v1/log/0/checkpoint/1", "/v1/log/0/consistency?from=1&to=2", "/v1/log/0/inclusion/1", base + "/messages/m1/readers/bob/proof",
	} {
		h.want(request{method: "GET", path: path, token: "-"}, 401, "unauthorized")
		h.want(request{method: "GET", path: path, token: h.token("bob")}, 403, "forbidden")
		h.want(request{method: "GET", path: path}, 200, "")
	}
	h.want(request{method: "GET", path: "/v1/log/key", token: "-"}, 200, "")
	// A size is for the admin: the route that is open takes none.
	h.want(request{method: "GET", path: "/v1/log/0/checkpoint?size=1", token: "-", wrong: true}, 400, "invalid_request")
	a := h.want(request{method: "GET", path: "/v1/log/0/checkpoint", token: "-"}, 200, "")
	if want := "log/0of2\n0\n"; string(a.body) != want {
		t.Errorf("the latest head: %q, want %q", a.body, want)
	}
	if a := h.want(request{method: "GET", path: "/v1/log/0/checkpoint/1"}, 200, ""); string(a.body) != "log/0of2\n1\n" {
		t.Errorf("the head of size 1: %q", a.body)
	}
}

func TestProofsThatThereAreNot(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for path, code := range map[string]string{
		"/v1/log/0/checkpoint/3":                            "404 not_in_log",
		"/v1/log/1/checkpoint":                              "404 not_in_log",
		"/v1/log/2/checkpoint":                              "404 not_found",
		"/v1/log/x/checkpoint":                              "400 invalid_request",
		"/v1/log/0/checkpoint/x":                            "400 invalid_request",
		"/v1/log/0/consistency":                             "400 invalid_request",
		"/v1/log/0/inclusion/1?size=3":                      "404 not_in_log",
		base + "/messages/m1/readers/eve/proof":             "404 message_not_found",
		base + "/messages/m1/readers/long%20ago/proof":      "410 trimmed",
		base + "/messages/m1/readers/bob/proof?group=other": "404 message_not_found",
		base + "/messages/m1/readers/bob/proof?entry=maybe": "400 invalid_request",
	} {
		status, name, _ := strings.Cut(code, " ")
		a := h.do(request{method: "GET", path: path, wrong: true})
		if got := a.code(t); got != name || status != map[int]string{400: "400", 404: "404", 410: "410"}[a.status] {
			t.Errorf("%s: %d %s, want %s", path, a.status, got, code)
		}
	}
}

func TestEvidenceIsTheVeryFile(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	for query, data := range map[string]any{"": nil, "?entry=false": nil, "?entry=true": "ZW50cnk="} {
		a := h.want(request{method: "GET", path: base + "/messages/m1/readers/bob/proof" + query}, 200, "")
		want, _ := fakeNotary{}.Evidence(t.Context(), events.Conversation{App: testApp, Group: "g1"}, "m1", "bob", data != nil)
		if string(a.body) != string(want) || a.field(t, "data") != data {
			t.Errorf("%q: %s", query, a.body)
		}
	}
}
