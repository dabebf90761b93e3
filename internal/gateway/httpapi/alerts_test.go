package httpapi

import (
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// anAlert is one of a group, of the hour that begins at sentAt.
func anAlert(group string, hours int64) projections.Alert {
	return projections.Alert{
		Rule: events.AlertRule{Name: "quiet", After: events.Duration(24 * time.Hour), ReadBelow: 30}, Key: group,
		Hour: sentAt/projections.HourMillis + hours, Messages: 2, Eligible: 8, Read: 2,
	}
}

func TestAlerts(t *testing.T) {
	h := newHarness(t)
	a := h.want(request{method: "GET", path: base + "/alerts"}, 200, "")
	if len(a.field(t, "alerts").([]any)) != 0 {
		t.Errorf("got %s", a.body)
	}
	first := anAlert("g1", 0)
	h.state.alert(first.Due(), first, anAlert("g2", 1))
	a = h.want(request{method: "GET", path: base + "/alerts?limit=1"}, 200, "")
	list := a.field(t, "alerts").([]any)
	if len(list) != 1 || list[0].(map[string]any)["subject"] != "g2" {
		t.Fatalf("got %s", a.body)
	}
	a = h.want(request{method: "GET", path: base + "/alerts"}, 200, "")
	due := time.UnixMilli(first.Due() * projections.HourMillis).UTC().Format("2006-01-02T15:04:05.000Z")
	list = a.field(t, "alerts").([]any)
	if oldest := list[1].(map[string]any); oldest["read_rate"] != 0.25 || oldest["due_at"] != due || a.field(t, "decided_upto") != due {
		t.Errorf("got %s", a.body)
	}
	for _, path := range []string{"/alerts", "/alerts/stream"} {
		h.want(request{method: "GET", path: base + path, token: h.token("alice")}, 403, "forbidden")
	}
}

// openAlerts opens the stream of the app's alerts.
func (h *harness) openAlerts(lastID string) *streamClient {
	h.t.Helper()
	return h.follow(request{method: "GET", path: base + "/alerts/stream"}, lastID)
}

func (c *streamClient) wantAlert(subject string) {
	c.t.Helper()
	if e := c.want("alert", "Alert"); e.data["subject"] != subject {
		c.t.Fatalf("an alert of %v, want %s", e.data["subject"], subject)
	}
}

// TestAlertStream: what is kept comes first, what is decided later as it is, each once on a
// connection; after another connection, only what was due later than all that the client has.
func TestAlertStream(t *testing.T) {
	h := newHarness(t)
	earliest := anAlert("g1", 0)
	upto := earliest.Due()
	h.state.alert(upto, earliest)
	c := h.openAlerts("")
	c.wantAlert("g1")
	first := c.lastID
	// Of the partition of g3 more is decided than of all.
	h.state.alert(upto+1, anAlert("g2", 1), anAlert("g3", 2))
	c.wantAlert("g2")
	c.wantAlert("g3")
	if c.lastID == first || first == "" {
		t.Errorf("the ids are %q and %q", first, c.lastID)
	}
	second := c.lastID
	c.close()

	h.state.alert(upto+3, anAlert("g4", 3))
	c = h.openAlerts(second)
	c.wantAlert("g3") // which may be known
	c.wantAlert("g4")
	c.close()
	c = h.openAlerts(first)
	c.wantAlert("g2")
	c.close()

	c = h.openAlerts((&API{cfg: Config{Identity: h.api.cfg.Identity + 1}}).placeCursor(listAlerts, "\x02"))
	c.want("resync", "StreamResync")
	c.wantAlert("g1")
	for _, id := range []string{"garbage", h.api.placeCursor(listRates, "\x02"), h.api.placeCursor(listAlerts, "\x02\x02")} {
		h.want(request{method: "GET", path: base + "/alerts/stream", header: map[string]string{"Last-Event-ID": id}}, 400, "invalid_cursor")
	}
}
