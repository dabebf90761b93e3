package day

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/ctl"
)

var options = Options{Apps: 3, Messages: 600, Seed: 7, End: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}

func all(t *testing.T, o Options) (list []events.Event) {
	t.Helper()
	plan, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for e, ok := plan.Next(); ok; e, ok = plan.Next() {
		list = append(list, e)
	}
	if plan.Progress() != 1 {
		t.Errorf("it is over at %v", plan.Progress())
	}
	return list
}

func TestDayIsWholeAndInOrder(t *testing.T) {
	list := all(t, options)
	kinds, senders, ids := map[events.Kind]int{}, map[string]string{}, map[string]bool{}
	read := map[string]bool{}
	var twice, early, said, labelled int
	last := options.End.Add(-24 * time.Hour).UnixMilli()
	for i, e := range list {
		var d events.Decoder
		if err := d.Decode(events.AppendJSON(nil, &e), events.FormatJSON, func(int, *events.Event) error { return nil }); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		if e.Time < last || e.Time >= options.End.UnixMilli() {
			t.Fatalf("event %d is at %d, after %d", i, e.Time, last)
		}
		if ids[e.EventID] {
			t.Fatalf("the id %s twice", e.EventID)
		}
		last, ids[e.EventID] = e.Time, true
		kinds[e.Kind]++
		switch e.Kind {
		case events.MessageSent:
			senders[e.Message] = e.User
			if e.Label != "" {
				labelled++
			}
		case events.MessageRead:
			key := e.User + " " + e.Message
			switch {
			case senders[e.Message] == "":
				early++
			case read[key]:
				twice++
			case e.Content != "":
				said++
			}
			read[key] = true
		case events.MessageRecalled:
			if senders[e.Message] != e.User {
				t.Errorf("%s recalls a message of %s", e.User, senders[e.Message])
			}
		}
	}
	if kinds[events.MessageSent] != options.Messages || kinds[events.GroupCreated] != options.Apps*len(sizes) {
		t.Errorf("%v", kinds)
	}
	for what, n := range map[string]int{
		"recalls": kinds[events.MessageRecalled], "deliveries": kinds[events.MessageDelivered], "chats read": kinds[events.ConversationRead],
		"receipts that come twice": twice, "receipts that come early": early, "readers who say something": said,
		"campaigns": labelled,
	} {
		if n == 0 {
			t.Errorf("no %s", what)
		}
	}
}

func TestSeedDecidesTheDayAndNotTheGroups(t *testing.T) {
	list, same := all(t, options), all(t, options)
	if len(list) != len(same) {
		t.Fatalf("%d and %d events", len(list), len(same))
	}
	text := func(e events.Event) string { return e.App + string(events.AppendJSON(nil, &e)) }
	for i := range list {
		if text(list[i]) != text(same[i]) {
			t.Fatalf("event %d: %s and %s", i, text(list[i]), text(same[i]))
		}
	}
	other := options
	other.Seed++
	for i, e := range all(t, other) {
		if e.Kind != events.GroupCreated {
			if text(e) == text(list[i]) {
				t.Error("another seed sends the same")
			}
			break
		}
		if e.EventID, list[i].EventID = "", ""; text(e) != text(list[i]) {
			t.Fatalf("another seed makes other groups: %s and %s", text(e), text(list[i]))
		}
	}
}

func TestDayIsBounded(t *testing.T) {
	for _, o := range []Options{{Apps: 0, Messages: 1}, {Apps: MaxApps + 1, Messages: 1}, {Apps: 1}, {Apps: 1, Messages: MaxMessages + 1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// server answers as receiptd does, and refuses the third of the requests for events at first.
type server struct {
	mu       sync.Mutex
	existing string
	requests map[string]int // by method and the end of the path
	events   int
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	name := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/"):]
	s.requests[name]++
	if name == "POST /events" && s.requests[name] == 3 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch {
	case r.URL.Path == "/v1/apps":
		fmt.Fprintf(w, `{"apps":[%s]}`, s.existing)
	case strings.HasSuffix(r.URL.Path, "/events"):
		n := strings.Count(string(body), `"type":`)
		s.events += n
		fmt.Fprintf(w, `{"accepted":%d,"outcomes":[{"outcome":"applied"}%s]}`, n, strings.Repeat(`,{"outcome":"duplicate"}`, n-1))
	case strings.HasSuffix(r.URL.Path, "/statistics"):
		fmt.Fprint(w, `{"group_ack":[{},{}],"cursor":"c"}`)
	default:
		fmt.Fprint(w, `{}`)
	}
}

func pourInto(t *testing.T, s *server, o Pouring) (Result, error) {
	t.Helper()
	s.requests = map[string]int{}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	var err error
	if o.Server, err = ctl.NewClient(web.URL, "k"); err != nil {
		t.Fatal(err)
	}
	plan, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return o.Pour(t.Context(), plan)
}

func TestPourSendsAllOfIt(t *testing.T) {
	s, want := &server{}, len(all(t, options))
	last := 0.0
	r, err := pourInto(t, s, Pouring{Report: func(part float64, _ int) { last = part }})
	if err != nil {
		t.Fatal(err)
	}
	if s.events != want || r.Events != want || r.Outcomes["applied"]+r.Outcomes["duplicate"] != want || last != 1 {
		t.Errorf("%d events arrived of %d: %+v, at %v", s.events, want, r, last)
	}
	if r.Group == "" || r.Message == "" || r.Waiting == "" || r.Changes != 2 || len(r.Apps) != options.Apps {
		t.Errorf("%+v", r)
	}
	if s.requests["POST /statistics:ack"] == 0 || s.requests["PUT /settings"] == 0 {
		t.Errorf("%v", s.requests)
	}
}

func TestPourTakesItsTime(t *testing.T) {
	for name, o := range map[string]Pouring{"for": {For: 300 * time.Millisecond}, "rate": {Rate: float64(len(all(t, options))) / 0.3}} {
		began := time.Now()
		if _, err := pourInto(t, &server{}, o); err != nil || time.Since(began) < 280*time.Millisecond {
			t.Errorf("%s: it took %s, %v", name, time.Since(began), err)
		}
	}
}

func TestAppsThatExistAreLeftAlone(t *testing.T) {
	s := &server{existing: `{"org":"demo","app":"support"}`}
	if _, err := pourInto(t, s, Pouring{}); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "demo/support") || len(s.requests) != 1 {
		t.Errorf("%v after %v", err, s.requests)
	}
	if r, err := pourInto(t, s, Pouring{Existing: true}); err != nil || r.Events == 0 {
		t.Errorf("%v, %+v", err, r)
	}
}
