package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/metrictest"
)

// web is the HTTP client of all tests. It needs no timeout: the server has a limit for each
// request.
var web = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	Timeout:   patience,
}

// refusal is an answer other than a success.
type refusal struct {
	status     int
	retryAfter string
	Body       struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Accepted int `json:"accepted"`
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%d %s: %s", r.status, r.Body.Code, r.Body.Message)
}

// do sends a request; an answer other than a success is a *refusal.
func (s *server) do(method, path, contentType string, body []byte) ([]byte, error) {
	base, key := s.address()
	request, err := http.NewRequest(method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	s.seen.ask(request)
	answer, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	s.seen.note(answer)
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		r := &refusal{status: answer.StatusCode, retryAfter: answer.Header.Get("Retry-After")}
		if err := json.Unmarshal(text, r); err != nil {
			return nil, fmt.Errorf("%s %s: %s: %q", method, path, answer.Status, text)
		}
		return nil, r
	}
	return text, nil
}

// call sends and receives JSON.
func (s *server) call(method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	text, err := s.do(method, path, "application/json", body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// must is call for requests that have to succeed.
func (s *server) must(method, path string, in, out any) {
	s.t.Helper()
	if err := s.call(method, path, in, out); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

const ndjson = "application/x-ndjson"

// lines is a body of events.
func lines(evs []events.Event) []byte {
	var body []byte
	for i := range evs {
		body = append(events.AppendJSON(body, &evs[i]), '\n')
	}
	return body
}

// appPath is the path of an app, "org#app".
func appPath(app string) string { return "/v1/apps/" + strings.Replace(app, "#", "/", 1) }

// post appends events, which must succeed.
func (s *server) post(app string, evs ...events.Event) {
	s.t.Helper()
	if _, err := s.do("POST", appPath(app)+"/events", ndjson, lines(evs)); err != nil {
		s.t.Fatalf("post: %v", err)
	}
}

// apply appends events, waits until they are folded, and returns their outcomes.
func (s *server) apply(app string, evs ...events.Event) []outcome {
	s.t.Helper()
	text, err := s.do("POST", appPath(app)+"/events?wait=applied", ndjson, lines(evs))
	var answer struct{ Outcomes []outcome }
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		s.t.Fatalf("post: %v", err)
	}
	return answer.Outcomes
}

// outcome is what the server says became of an event.
type outcome struct {
	Index   int
	Outcome string
	Code    int
	Reason  string
}

// counts are the numbers of a message.
type counts struct{ Eligible, Delivered, Read int }

// counts asks for any number of messages.
func (s *server) counts(app string, ids []string) map[string]counts {
	s.t.Helper()
	all := make(map[string]counts, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), 1000)
		answer := struct{ Counts map[string]counts }{all} // decoding adds to a map
		s.must("POST", appPath(app)+"/messages:counts", map[string]any{"ids": ids[:n]}, &answer)
		ids = ids[n:]
	}
	return all
}

// reader is a user who has read a message.
type reader struct {
	User    string
	ReadAt  instant `json:"read_at"`
	Content string
}

// readers returns all readers of a message, page by page. in names the message's conversation as a
// query does; without it the id has to be enough.
func (s *server) readers(app, id string, page int, in ...string) []reader {
	s.t.Helper()
	all, cursor := []reader{}, ""
	for {
		var answer struct {
			Total      int
			Readers    []reader
			NextCursor string `json:"next_cursor"`
		}
		s.must("GET", appPath(app)+"/messages/"+url.PathEscape(id)+"/readers?limit="+strconv.Itoa(page)+"&cursor="+cursor+"&"+strings.Join(in, "&"), nil, &answer)
		all = append(all, answer.Readers...)
		if cursor = answer.NextCursor; cursor == "" {
			if answer.Total != len(all) {
				s.t.Fatalf("message %s has a total of %d readers, and %d", id, answer.Total, len(all))
			}
			return all
		}
	}
}

// nonReaders returns all members who have not read a message, page by page; in is as in readers.
func (s *server) nonReaders(app, id string, page int, in ...string) []string {
	s.t.Helper()
	all, cursor := []string{}, ""
	for {
		var answer struct {
			Total      int
			Users      []string
			NextCursor string `json:"next_cursor"`
		}
		s.must("GET", appPath(app)+"/messages/"+url.PathEscape(id)+"/nonreaders?limit="+strconv.Itoa(page)+"&cursor="+cursor+"&"+strings.Join(in, "&"), nil, &answer)
		all = append(all, answer.Users...)
		if cursor = answer.NextCursor; cursor == "" {
			if answer.Total != len(all) {
				s.t.Fatalf("message %s has a total of %d nonreaders, and %d", id, answer.Total, len(all))
			}
			return all
		}
	}
}

// rejection is one of the latest rejected events.
type rejection struct {
	Partition                        int
	Sequence                         uint64
	Index                            int
	At                               instant
	Type, Group, Peer, User, Message string
	Code                             int
	Reason                           string
}

func (s *server) rejections(app string) []rejection {
	s.t.Helper()
	var answer struct{ Rejections []rejection }
	s.must("GET", appPath(app)+"/rejections?limit=1000", nil, &answer)
	return answer.Rejections
}

// instant is Unix milliseconds, read from a time as the API writes it; 0 is null.
type instant int64

func (i *instant) UnmarshalJSON(text []byte) error {
	var t *time.Time
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	*i = 0
	if t != nil {
		*i = instant(t.UnixMilli())
	}
	return nil
}

// metric is the sum of a metric over its labels.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	text, err := s.do("GET", "/metrics", "", nil)
	if err != nil {
		s.t.Fatalf("metrics: %v", err)
	}
	sum, found := metrictest.Sum(string(text), name)
	if !found {
		s.t.Fatalf("there is no metric %s", name)
	}
	return sum
}

// verdict is what receiptctl verify and replay print as JSON.
type verdict struct {
	Equal      bool
	Events     uint64
	Switched   bool
	CaughtUp   uint64 `json:"events_caught_up"`
	Partitions []struct {
		Partition      int
		Position       uint64
		Live, Replayed string
		Difference     *struct{ Key, What string }
	}
}

// verify has the running server prove its state, which must be right.
func (s *server) verify() verdict {
	s.t.Helper()
	return equal(s.t, s.ctl("verify", "--json"))
}

// equal reads the result of verify or replay, which must be that the states are equal.
func equal(t testing.TB, r result) (v verdict) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || r.code != 0 || !v.Equal || len(v.Partitions) == 0 {
		t.Fatalf("not equal: %v, %v", err, r)
	}
	for _, p := range v.Partitions {
		if p.Live == "" || p.Live != p.Replayed {
			t.Fatalf("partition %d: digests %q and %q", p.Partition, p.Live, p.Replayed)
		}
	}
	return v
}
