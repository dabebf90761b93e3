package runtime

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What clients may have said without end is said some times, and counted; other things are said all
// the same.
func TestLinesOfTheEdgesAreSpared(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := newSparingLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("edge", "http")
	for range 10_000 {
		log.Error("request failed")
		log.Debug("request")
	}
	log.Error("request panicked")
	text := out.String()
	if n := strings.Count(text, "request failed"); n < sparingLines || n > sparingLines+30 {
		t.Errorf("%d lines of 10,000", n)
	}
	if n := strings.Count(text, "msg=request "); n != 10_000 {
		t.Errorf("%d lines for debugging, of 10,000", n)
	}
	if !strings.Contains(text, "request panicked") {
		t.Error("another line was lost")
	}
	// What was kept back is counted by the next that passes.
	l := log.Handler().(*sparingLog)
	for i := range l.kinds {
		if l.kinds[i].silent > 0 {
			l.kinds[i].lines.SetBurst(sparingLines + 10_000)
			l.kinds[i].lines.SetLimit(1e9)
		}
	}
	for range 3 {
		out.Reset()
		if log.Error("request failed"); strings.Contains(out.String(), "not_logged_before=9") {
			return
		}
	}
	t.Errorf("nothing says how many lines are missing: %s", &out)
}
