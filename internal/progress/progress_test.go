package progress

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLinesTellRateAndTimeLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out, Options{Label: "replay", Unit: "events", Total: 2_000_000})
		p.Add(500_000)
		time.Sleep(lineInterval + time.Millisecond)
		p.Add(1_000_000)
		time.Sleep(lineInterval)
		p.Set(2_000_000)
		p.Close()
		p.Close()
		want := "replay: 500.0k of 2.0M events (25 %), 100.0k/s, 15s left\n" +
			"replay: 1.5M of 2.0M events (75 %), 200.0k/s, 3s left\n" +
			"replay: 2.0M events in 10.001s, 200.0k/s\n"
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	})
}

func TestLinesWithoutTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out, Options{Label: "read", Unit: "entries"})
		p.Add(10)
		time.Sleep(lineInterval + time.Millisecond)
		p.SetTotal(20)
		time.Sleep(lineInterval)
		p.Close()
		want := "read: 10 entries, 2/s\nread: 10 of 20 entries (50 %), 0/s\nread: 10 entries in 10.001s, 1/s\n"
		if out.String() != want {
			t.Errorf("got\n%swant\n%s", out.String(), want)
		}
	})
}

func TestQuietWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out, Options{Label: "replay", Unit: "events", Total: 1, Quiet: true})
		p.Add(1)
		time.Sleep(2 * lineInterval)
		p.Close()
		if out.Len() > 0 {
			t.Errorf("wrote %q", out.String())
		}
	})
}

func TestBarFillsOnlyAtTheEnd(t *testing.T) {
	for name, test := range map[string]struct {
		done, total int64
		want        string
	}{
		"complete":      {1000, 1000, "100%"},
		"stopped early": {500, 1000, "50%"},
		"no total":      {1000, 0, "replay: 1.0k events"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				o := Options{Label: "replay", Unit: "events", Total: test.total}
				p := start(newBar(&out, o), barInterval, o.Total)
				p.Set(test.done)
				time.Sleep(3*barInterval + time.Millisecond)
				synctest.Wait()
				if strings.Contains(out.String(), "100%") {
					t.Errorf("full before the end: %q", out.String())
				}
				p.Close()
				if text := out.String(); !strings.Contains(text, test.want) || !strings.HasSuffix(text, "\n") {
					t.Errorf("no %q at the end of %q", test.want, text)
				}
			})
		})
	}
}

func TestBarFollowsAMovingTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := Options{Label: "replay", Unit: "events", Total: 100}
		p := start(newBar(&out, o), barInterval, o.Total)
		p.Set(100)
		time.Sleep(barInterval + time.Millisecond)
		p.SetTotal(400)
		time.Sleep(barInterval)
		p.Close()
		if text := out.String(); strings.Contains(text, "100%") || !strings.Contains(text, "25%") {
			t.Errorf("got %q", text)
		}
	})
}
