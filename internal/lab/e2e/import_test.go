package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/day"
)

// TestHistoryIsImported pours a day of long ago into an app, in two goes and then once more, and
// finds it at its own time. A replay finds the same.
func TestHistoryIsImported(t *testing.T) {
	s := startServer(t)
	end := time.Date(2021, 5, 2, 0, 0, 0, 0, time.UTC)
	plan, err := day.New(day.Options{Apps: 1, Messages: 120, Seed: 3, End: end})
	if err != nil {
		t.Fatal(err)
	}
	app := plan.Apps()[0]
	s.must("PUT", appPath(app.Name), app.Settings, nil)
	var lines []string
	sent, first := 0, ""
	for e, ok := plan.Next(); ok; e, ok = plan.Next() {
		e.EventID = ""
		if first == "" {
			first = e.Group
		}
		if e.Kind == events.MessageSent {
			sent++
		}
		lines = append(lines, string(events.AppendJSON(nil, &e)))
	}
	file := filepath.Join(t.TempDir(), "history.ndjson")
	write := func(lines []string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(code int, args ...string) (r struct {
		Lines    int
		Outcomes map[string]int
		Rejected []struct {
			Line   int
			Reason string
		}
	}) {
		t.Helper()
		got := s.ctl(append([]string{"import", file, "--app", app.Name, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(got.out), &r); err != nil || got.code != code && (code != 3 || got.code != 0) {
			t.Fatalf("import %v: %v", args, got)
		}
		return r
	}
	half := len(lines) / 2
	old := fmt.Sprintf(`{"type":"group.left","group":%q,"user":"u","time":"2001-01-01T00:00:00Z"}`, first)
	wrong := append(append([]string{}, lines[:half]...), old, `{"type":"group.left","group":"g","user":"u"}`)
	write(wrong)
	if r := run(3, "--dry-run"); len(r.Rejected) != 2 || r.Rejected[0].Line != half+1 || r.Rejected[1].Line != half+2 {
		t.Errorf("dry run: %+v", r.Rejected)
	}
	if got := s.ctl("import", file, "--app", app.Name); got.code != 1 || !strings.Contains(got.err, fmt.Sprintf("--from-line %d", half+2)) {
		t.Errorf("a line that is malformed: %v", got)
	}
	write(lines)
	run(0, "--dry-run")
	r := run(3, "--from-line", fmt.Sprint(half+1)) // the day has receipts that the rules reject
	if r.Lines != len(lines)-half || r.Outcomes["applied"] < half/2 || 20*r.Outcomes["rejected"] > half {
		t.Errorf("%+v", r)
	}
	var rates struct {
		Rows []struct {
			Key                      string
			Messages, Read, Eligible int
		}
	}
	asked := appPath(app.Name) + "/analytics/read-rate?group_by=app&from=2021-04-30&to="
	s.must("GET", asked+"2021-05-03", nil, &rates)
	if len(rates.Rows) != 1 || rates.Rows[0].Messages < sent/4 || 3*rates.Rows[0].Read < rates.Rows[0].Eligible {
		t.Errorf("of the day %+v, of %d messages", rates.Rows, sent)
	}
	before := rates.Rows
	again := run(3)
	if again.Outcomes["parked"] > 0 {
		t.Errorf("once more: %+v", again.Outcomes)
	}
	s.must("GET", asked+"2026-01-01", nil, &rates)
	if fmt.Sprint(rates.Rows) != fmt.Sprint(before) {
		t.Errorf("once more: %+v, before %+v", rates.Rows, before)
	}
	if now := s.ctl("stats", "--app", app.Name, "--json"); !strings.Contains(now.out, `"total":0`) {
		t.Errorf("of today: %v", now)
	}
	s.verify()
}
