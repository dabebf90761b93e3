package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// TestModelUnderKill sends random histories of every kind of event while the server is killed again
// and again, and then has the model decide what receiptctl tail finds in the log. Every outcome
// that was answered, and everything that can be asked, is what the model says: the way from HTTP
// through log and fold to HTTP is right.
func TestModelUnderKill(t *testing.T) {
	t.Parallel()
	const kills = 8
	modelHolds(startServer(t), random(t), kills, func(s *server) {
		s.kill()
		s.start()
	})
}

// modelHolds has historians write to a server or several nodes, which meanwhile are disturbed some
// times, and compares what came of it with the model at the end.
func modelHolds(s *server, r *rand.Rand, times int, disturb func(*server)) {
	const historians = 4
	t := s.t
	t.Helper()
	answers := &answers{outcomes: map[int64]outcome{}}
	var writing sync.WaitGroup
	var enough atomic.Bool
	for i := range historians {
		h := &historian{s: s, name: fmt.Sprint(i), random: rand.New(rand.NewPCG(r.Uint64(), 0)), answers: answers}
		writing.Go(func() {
			if err := h.write(&enough); err != nil {
				t.Errorf("historian %d: %v", i, err)
			}
		})
	}
	for range times {
		time.Sleep(time.Duration(200+r.IntN(600)) * time.Millisecond) // a random moment
		disturb(s)
	}
	enough.Store(true)
	writing.Wait()
	model := s.tailed()
	answers.check(t, model)
	model.compare(s)
	s.alike()
	t.Logf("disturbed %d times, %d events in the log, %d outcomes answered: %v", times, model.events, len(answers.outcomes), answers.byReason())
}

// answers are the outcomes that the server has answered, by the time that the event was given by
// its sender: no two sendings have the same one.
type answers struct {
	clock    atomic.Int64
	mu       sync.Mutex
	outcomes map[int64]outcome
}

// next is a time that no event has had.
func (a *answers) next() int64 { return 1_700_000_000_000 + a.clock.Add(1) }

func (a *answers) add(evs []events.Event, list []outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, o := range list {
		o.Index = 0 // in the request; the log has its own
		a.outcomes[evs[i].Time] = o
	}
}

// byReason is the number of answers of each outcome and reason.
func (a *answers) byReason() map[string]int {
	n := map[string]int{}
	for _, o := range a.outcomes {
		n[o.Outcome+" "+o.Reason]++
	}
	return n
}

// check compares the answers with what the model decided about the same events.
func (a *answers) check(t testing.TB, m *model) {
	t.Helper()
	for time, got := range a.outcomes {
		want, stored := m.outcomes[time]
		switch {
		case !stored:
			t.Errorf("event %d was answered and is not in the log", time)
		case got != want:
			t.Errorf("event %d: answered %+v, the model says %+v", time, got, want)
		}
	}
}

// historian writes several histories at the same time, each in apps of its own, so that the times
// between the events of one are long enough for something to expire.
type historian struct {
	s         *server
	name      string
	random    *rand.Rand
	answers   *answers
	begun     int
	histories []*script
}

// script is a history that is being written.
type script struct {
	suffix     string // of the names of its apps
	rest       []events.Event
	configured map[string]bool
	cursors    []string // of earlier summaries
}

func (h *historian) begin() {
	h.begun++
	s := &script{suffix: fmt.Sprintf("-%s-%d", h.name, h.begun), configured: map[string]bool{}}
	for _, entry := range history.Logs().Example(int(h.random.Uint32())) {
		s.rest = append(s.rest, entry.Events...)
	}
	h.histories = append(h.histories, s)
}

// write begins histories until there are enough, and completes them.
func (h *historian) write(enough *atomic.Bool) error {
	const atOnce = 8
	for {
		for len(h.histories) < atOnce && !enough.Load() {
			h.begin()
		}
		if len(h.histories) == 0 {
			return nil
		}
		i := h.random.IntN(len(h.histories))
		if len(h.histories[i].rest) == 0 {
			h.histories = slices.Delete(h.histories, i, i+1)
			continue
		}
		if err := h.step(h.histories[i]); err != nil {
			return err
		}
		time.Sleep(time.Duration(h.random.IntN(5)) * time.Millisecond)
	}
}

// step sends the next events of a history in one request.
func (h *historian) step(s *script) error {
	first := s.rest[0]
	switch first.Kind {
	case events.AppConfigured:
		s.rest = s.rest[1:]
		return h.configure(s, &first)
	case events.StatisticSeen:
		s.rest = s.rest[1:]
		return h.see(s, &first)
	case events.UserConfigured:
		s.rest = s.rest[1:]
		return h.configureUser(s, &first)
	}
	n := 1
	for most := 1 + h.random.IntN(8); n < min(most, len(s.rest)); n++ {
		if e := &s.rest[n]; e.App != first.App || e.Kind.Internal() {
			break
		}
	}
	batch := s.rest[:n]
	s.rest = s.rest[n:]
	return h.post(s, first.App, batch)
}

// persist sends a request until the server says something.
func persist(send func() error) error {
	_, err := poll(func() (struct{}, error) {
		err := send()
		if r := (*refusal)(nil); errors.As(err, &r) && r.status < 500 {
			err = permanent{err}
		}
		return struct{}{}, err
	})
	return err
}

func (h *historian) configure(s *script, e *events.Event) error {
	err := persist(func() error { return h.s.call("PUT", appPath(e.App+s.suffix), e.Settings, nil) })
	s.configured[e.App] = err == nil
	return err
}

// configureUser sets what a user wants to be told of their receipts.
func (h *historian) configureUser(s *script, e *events.Event) error {
	if !s.configured[e.App] {
		return nil
	}
	path := appPath(e.App+s.suffix) + "/users/" + e.User
	switch {
	case e.Group != "":
		path += "/conversations/" + e.Group + "/settings?type=group"
	case e.Peer != "":
		path += "/conversations/" + e.Peer + "/settings?type=peer"
	default:
		path += "/settings"
	}
	body := map[string]any{}
	for name, choice := range map[string]events.Choice{"send_read_receipts": e.SendReads, "send_delivery_receipts": e.SendDeliveries} {
		switch choice {
		case events.ChoiceSend, events.ChoiceHide:
			body[name] = choice == events.ChoiceSend
		default:
			if e.Group+e.Peer != "" {
				body[name] = nil
			}
		}
	}
	err := persist(func() error { return h.s.call("PUT", path, body, nil) })
	if r := (*refusal)(nil); errors.As(err, &r) && r.Body.Code == "conversation_not_found" {
		return nil
	}
	return err
}

// see acknowledges a summary of the user, or now and then an earlier one of any user, which is
// refused if it is somebody else's.
func (h *historian) see(s *script, e *events.Event) error {
	if !s.configured[e.App] {
		return nil
	}
	path := appPath(e.App+s.suffix) + "/users/" + e.User + "/statistics"
	var summary struct{ Cursor string }
	if err := persist(func() error { return h.s.call("GET", path, nil, &summary) }); err != nil {
		return err
	}
	cursor := summary.Cursor
	s.cursors = append(s.cursors, cursor)
	if h.random.IntN(3) == 0 {
		cursor = s.cursors[h.random.IntN(len(s.cursors))]
	}
	err := persist(func() error { return h.s.call("POST", path+":ack", map[string]string{"cursor": cursor}, nil) })
	if r := (*refusal)(nil); errors.As(err, &r) && r.Body.Code == "invalid_cursor" && cursor != summary.Cursor {
		return nil
	}
	return err
}

// post sends events until they are answered, at new times each time.
func (h *historian) post(s *script, app string, evs []events.Event) error {
	for i := range evs {
		if evs[i].Imported { // which has a door of its own
			evs[i].Imported, evs[i].Time = false, 0
		}
	}
	var answer struct{ Outcomes []outcome }
	err := persist(func() error {
		for i := range evs {
			evs[i].Time = h.answers.next()
		}
		text, err := h.s.do("POST", appPath(app+s.suffix)+"/events?wait=applied", ndjson, lines(evs))
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &answer)
	})
	if r := (*refusal)(nil); errors.As(err, &r) && r.Body.Code == "app_not_found" && !s.configured[app] {
		return nil
	}
	if err == nil && len(answer.Outcomes) != len(evs) {
		err = fmt.Errorf("%d outcomes for %d events", len(answer.Outcomes), len(evs))
	}
	h.answers.add(evs, answer.Outcomes)
	return err
}

// messagePath is the path of a message.
func messagePath(app, id string) string { return appPath(app) + "/messages/" + url.PathEscape(id) }
