package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/schema/client"
)

// Connections break when a few lines of answers have come: what was stored and not answered is sent
// again on the next one, and known.
func TestBrokenStreamGoesOnWhereItWas(t *testing.T) {
	s := start(t)
	direct := s.client(t, client.Config{})
	group(t, direct, 150)
	url, connections := pipe(t, s, func(n int) int {
		switch {
		case n%3 == 1:
			return 0 // not even the headers
		case n < 12:
			return 300 + 150*n
		}
		return 1 << 30
	})
	for _, applied := range []bool{true, false} {
		c := s.client(t, client.Config{URL: url})
		stream := c.Stream(client.StreamOptions{Applied: applied, Unanswered: 40})
		var tickets []*client.Ticket
		for i := range 75 {
			if !applied {
				i += 75
			}
			tickets = append(tickets, must(stream.Add(bound(t), client.MessageRead{Message: "m1", User: fmt.Sprintf("r%d", i), Group: "team"}))(t))
		}
		if err := stream.Close(bound(t)); err != nil {
			t.Fatal(err)
		}
		for i, x := range tickets {
			outcomes := must(x.Wait(bound(t)))(t)
			if applied && (len(outcomes) != 1 || outcomes[0].Outcome != client.DecisionApplied) {
				t.Errorf("receipt %d: %+v", i, outcomes)
			}
		}
		// What is durable may be folded a little later, but before an event that is answered when
		// it is decided.
		must(direct.Apply(bound(t), client.MessageRead{Message: "m1", User: "r0", Group: "team"}))(t)
	}
	if n := connections(); n < 6 {
		t.Errorf("%d connections", n)
	}
	list := must(direct.GetReaders(bound(t), "m1", client.GetReadersParams{Group: "team", Limit: 1000}))(t)
	if len(list.Readers) != 150 {
		t.Fatalf("%d readers", len(list.Readers))
	}
	for i, r := range list.Readers {
		if want := fmt.Sprintf("r%d", i); r.User != want {
			t.Fatalf("reader %d is %s", i, r.User)
		}
	}
}

func TestFollowGoesOnAfterABrokenConnection(t *testing.T) {
	s := start(t)
	direct := s.client(t, client.Config{})
	const readers = 40
	group(t, direct, readers)
	url, connections := pipe(t, s, func(n int) int {
		if n < 4 {
			return 600 + 200*n
		}
		return 1 << 30
	})
	token := must(direct.PostToken(bound(t), "ann", client.PostTokenJSONBody{}))(t).Token
	c := s.client(t, client.Config{URL: url, User: "ann", Token: client.Key(token)})
	ctx, cancel := context.WithCancel(bound(t))
	defer cancel()
	read := 0
	if _, err := direct.Send(ctx, client.MessageRead{Message: "m1", User: "r0", Group: "team"}); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Follow(ctx, "ann", "") {
		if err != nil {
			t.Fatalf("after %d reads: %v", read, err)
		}
		// Counts are those of the message: whatever comes twice or merged says the same.
		was := read
		switch data := e.Data.(type) {
		case client.StreamRead:
			read = max(read, data.Count)
		case client.Statistic:
			for _, x := range data.GroupAck {
				read = max(read, x.Count)
			}
		default:
			t.Errorf("%s: %+v", e.Name, data)
		}
		if read == readers {
			break
		}
		if read > was {
			if _, err := direct.Send(ctx, client.MessageRead{Message: "m1", User: fmt.Sprintf("r%d", read), Group: "team"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if read != readers || connections() < 4 {
		t.Errorf("%d reads over %d connections", read, connections())
	}
}

// An id acknowledges; one of another log is answered by resync, which the loop gets.
func TestFollowBeginsAtAnID(t *testing.T) {
	s, other := start(t), start(t)
	id := ""
	for _, x := range []*server{s, other} {
		c := x.client(t, client.Config{})
		group(t, c, 2)
		if _, err := c.Apply(bound(t), client.MessageRead{Message: "m1", User: "r0", Group: "team"}); err != nil {
			t.Fatal(err)
		}
		for e, err := range c.Follow(bound(t), "ann", id) {
			if err != nil {
				t.Fatal(err)
			}
			if x == other && id != "" { // that of s
				if _, ok := e.Data.(client.StreamResync); !ok {
					t.Errorf("%s: %+v", e.Name, e.Data)
				}
				id = ""
				continue
			}
			if data, ok := e.Data.(client.Statistic); !ok || len(data.GroupAck) != 1 || e.ID == "" {
				t.Errorf("%s: %+v", e.Name, e.Data)
			}
			id = e.ID
			break
		}
	}
	c := other.client(t, client.Config{})
	if _, err := c.Apply(bound(t), client.MessageRead{Message: "m1", User: "r1", Group: "team"}); err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Follow(bound(t), "ann", id) {
		if data, ok := e.Data.(client.Statistic); err != nil || !ok || data.GroupAck[0].Count != 2 {
			t.Errorf("%s: %+v %v", e.Name, e.Data, err)
		}
		break
	}
	if left := must(c.GetStatistics(bound(t), "ann", client.GetStatisticsParams{}))(t); len(left.GroupAck) != 1 || left.GroupAck[0].Count != 2 {
		t.Errorf("left: %+v", left)
	}
}

func TestFollowEndsWithItsContextAndWithAnError(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // nothing comes
	defer cancel()
	n := 0
	for e, err := range s.client(t, client.Config{}).Follow(ctx, "ann", "") {
		if n++; err != context.DeadlineExceeded {
			t.Errorf("%+v %v", e, err)
		}
	}
	for e, err := range s.client(t, client.Config{Token: client.Key("wrong")}).Follow(bound(t), "ann", "") {
		if n++; err == nil {
			t.Errorf("%+v", e)
		}
	}
	if n != 2 {
		t.Errorf("%d rounds", n)
	}
}

// What the loop was given and did not finish with is not acknowledged by the connection that
// follows.
func TestFollowAcknowledgesWhatTheLoopFinished(t *testing.T) {
	s := start(t)
	direct := s.client(t, client.Config{})
	group(t, direct, 2)
	if _, err := direct.Apply(bound(t), client.MessageRead{Message: "m1", User: "r0", Group: "team"}); err != nil {
		t.Fatal(err)
	}
	var asked []string
	url := proxy(t, s, func(r *http.Request, _ func() *http.Response) *http.Response {
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		const first, second = "event: read\nid: AAAA\ndata: {\"count\":1}\n\n", "event: read\nid: BBBB\ndata: {\"count\":2}\n\n"
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(strings.NewReader(first + second))}
	})
	n := 0
	for e, err := range s.client(t, client.Config{URL: url}).Follow(bound(t), "ann", "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 4 { // the second of the second connection
			if e.ID != "BBBB" || len(asked) != 2 || asked[0] != "" || asked[1] != "BBBB" {
				t.Errorf("asked with %q", asked)
			}
			break
		}
	}
}

// Alerts are followed as messages are: over connections, with the last id.
func TestFollowAlerts(t *testing.T) {
	s := start(t)
	for e, err := range s.client(t, client.Config{}).FollowAlerts(bound(t), "of something else") {
		if refused, ok := errors.AsType[*client.Error](err); !ok || refused.Code != client.CodeInvalidCursor {
			t.Errorf("%+v %v", e, err)
		}
	}
	var asked []string
	url := proxy(t, s, func(r *http.Request, _ func() *http.Response) *http.Response {
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Last-Event-ID"))
		body := fmt.Sprintf("event: alert\nid: a%d\ndata: {\"subject\":\"g%d\",\"messages\":3}\n\n", len(asked), len(asked))
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(strings.NewReader(body))}
	})
	n := 0
	for e, err := range s.client(t, client.Config{URL: url}).FollowAlerts(bound(t), "a0") {
		n++
		if a, ok := e.Data.(client.Alert); err != nil || !ok || a.Subject != fmt.Sprintf("g%d", n) || a.Messages != 3 {
			t.Fatalf("%+v %v", e, err)
		}
		if n == 3 {
			break
		}
	}
	const path = "/v1/apps/acme/chat/alerts/stream "
	if want := path + "a0 " + path + "a1 " + path + "a2"; strings.Join(asked, " ") != want {
		t.Errorf("asked %q", asked)
	}
}
