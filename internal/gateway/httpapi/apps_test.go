package httpapi

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func TestPutAppCreatesWithDefaultsAndKeepsWhatIsLeftOut(t *testing.T) {
	h := newHarness(t)
	created := h.want(request{method: "PUT", path: "/v1/apps/acme/new"}, 200, "")
	if got := created.field(t, "group_receipts", "validity"); got != "72h" {
		t.Errorf("validity of a new app: %v", got)
	}
	h.want(request{method: "PUT", path: "/v1/apps/acme/new", body: `{"group_receipts":{"enabled":true,"validity":"1h"}}`}, 200, "")
	changed := h.want(request{method: "PUT", path: "/v1/apps/acme/new", body: `{"delivery_receipts":false}`}, 200, "")
	if changed.field(t, "group_receipts", "enabled") != true || changed.field(t, "delivery_receipts") != false {
		t.Errorf("changed to %s", changed.body)
	}
	inForce := h.want(request{method: "GET", path: "/v1/apps/acme/new"}, 200, "")
	if string(inForce.body) != string(changed.body) {
		t.Errorf("in force %s, answered %s", inForce.body, changed.body)
	}
}

func TestPutAppRefused(t *testing.T) {
	h := newHarness(t)
	for name, c := range map[string]struct {
		path, body string
		field      string
	}{
		"malformed":      {"/v1/apps/acme/new", `{"delivery_receipts":`, "body"},
		"unknown field":  {"/v1/apps/acme/new", `{"group_receipts":{"enabld":true}}`, "group_receipts.enabld"},
		"wrong type":     {"/v1/apps/acme/new", `{"delivery_receipts":"yes"}`, "delivery_receipts"},
		"wrong value":    {"/v1/apps/acme/new", `{"group_receipts":{"visibility":"all"}}`, "group_receipts.visibility"},
		"wrong duration": {"/v1/apps/acme/new", `{"single_receipts":{"validity":"3 days"}}`, "single_receipts.validity"},
		"null":           {"/v1/apps/acme/new", `{"group_receipts":null}`, "group_receipts"},
		"reserved org":   {"/v1/apps/v1/new", `{}`, "app"},
		"app name":       {"/v1/apps/acme/a%23b", `{}`, "app"},
	} {
		t.Run(name, func(t *testing.T) {
			a := h.want(request{method: "PUT", path: c.path, body: c.body, wrong: true}, 400, "invalid_request")
			if got := a.field(t, "error", "field"); got != c.field {
				t.Errorf("field %v, want %v: %s", got, c.field, a.body)
			}
		})
	}
	if _, _, err := h.state.FindApp("acme#new"); err == nil {
		t.Error("a refused request created the app")
	}
}

func TestPutAppSaysWhenItFailed(t *testing.T) {
	h := newHarness(t)
	h.commands.failure = errors.New("partition 1 does not answer")
	h.want(request{method: "PUT", path: "/v1/apps/acme/new"}, 500, "internal")
}

// While nobody can tell whether there is an app, it is not said to be unknown, which clients take
// for good, nor put back to the defaults by a change of one setting.
func TestAppsThatNobodyCanTellOf(t *testing.T) {
	h := newHarness(t)
	before := h.state.settings[testApp]
	h.state.unsure = true
	for _, rq := range []request{
		{method: "POST", path: base + "/events", body: `[{"type":"message.read","group":"g","message":"m","user":"ann"}]`},
		{method: "GET", path: base},
		{method: "PUT", path: base, body: `{"delivery_receipts":true}`},
		{method: "PUT", path: "/v1/apps/acme/new"},
	} {
		h.want(rq, 503, "timeout")
	}
	if now := h.state.settings; len(now) != 1 || !reflect.DeepEqual(now[testApp], before) {
		t.Errorf("%+v", now)
	}
}

func TestRejections(t *testing.T) {
	h := newHarness(t)
	h.state.rejections = []projections.Rejection{
		{Partition: 1, Sequence: 8, Index: 3, At: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), Outcome: events.RejectedNotFound,
			Kind: events.MessageRead, Group: "g1", User: "bob", Message: "m1"},
		{Partition: 0, Sequence: 2, At: 1, Outcome: events.RejectedNoGroup, Kind: events.GroupDissolved, Group: "g2"},
	}
	a := h.want(request{method: "GET", path: base + "/rejections"}, 200, "")
	list := a.field(t, "rejections").([]any)
	first := list[0].(map[string]any)
	if len(list) != 2 || first["reason"] != "group ack msg not found" || first["code"] != 503.0 || first["at"] != "2026-03-01T00:00:00.000Z" {
		t.Errorf("got %s", a.body)
	}
	a = h.want(request{method: "GET", path: base + "/rejections?limit=1"}, 200, "")
	if got := len(a.field(t, "rejections").([]any)); got != 1 {
		t.Errorf("%d with limit 1", got)
	}
}
