package runtime

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// answersWithin is how long the quiet app waits for an answer over NATS.
const answersWithin = 10 * time.Second

// quietApp is an app that uses every door now and then, beside others that flood them.
type quietApp struct {
	*running
	t     testing.TB // whose the round is
	n     int        // of the round
	nc    *nats.Conn
	lines io.Writer     // of a stream of events
	taken *bufio.Reader // its answers
	sdk   *sdkConn      // ann's
}

// quietDoors are what is asked in a round, each to be answered as it should.
var quietDoors = []struct {
	name string
	use  func(q *quietApp) error
}{
	{"event", func(q *quietApp) error {
		event := fmt.Sprintf(`{"type":"message.sent","id":"q%d","from":"ann","peer":"ben"}`, q.n)
		return q.ask("POST", "/v1/apps/acme/quiet/events?wait=applied", q.AdminKey(), event)
	}},
	{"line", (*quietApp).line},
	{"request", (*quietApp).request},
	{"publication", func(q *quietApp) error {
		m, err := q.nc.Request("receipts.in.acme.quiet.s~ann~ben.message-read", fmt.Appendf(nil, `{"type":"message.read","message":"q%d","user":"ben","peer":"ann"}`, q.n), answersWithin)
		if err == nil && !strings.Contains(string(m.Data), `"seq":`) {
			err = fmt.Errorf("%s", m.Data)
		}
		return err
	}},
	{"readers", func(q *quietApp) error {
		return q.ask("GET", fmt.Sprintf("/v1/apps/acme/quiet/messages/q%d/readers", q.n), q.AdminKey(), "")
	}},
	{"summary", func(q *quietApp) error {
		return q.ask("GET", "/v1/apps/acme/quiet/users/ann/statistics", q.AdminKey(), "")
	}},
	{"file", func(q *quietApp) error {
		return q.ask("GET", "/v1/apps/acme/quiet/analytics/read-rate", q.AdminKey(), "")
	}},
	{"token", func(q *quietApp) error {
		return q.ask("POST", "/v1/apps/acme/quiet/users/ann/tokens", q.AdminKey(), "")
	}},
	{"login", func(q *quietApp) error {
		return q.ask("POST", "/acme/quiet/token", "", `{"grant_type":"password","username":"ann","password":"pw"}`)
	}},
	{"sdk login", func(q *quietApp) error {
		c, err := q.dial(context.Background(), "acme#quiet", "ann", "10.0.0.1")
		if err == nil {
			_ = c.conn.CloseNow()
		}
		return err
	}},
	{"sdk message", (*quietApp).send},
}

// newQuiet lets ann of the quiet app in at every door.
func newQuiet(r *running) *quietApp {
	r.t.Helper()
	q := &quietApp{running: r, t: r.t, nc: r.producer("quiet")}
	if err := q.ask("POST", "/acme/quiet/users", "", `{"username":"ann","password":"pw"}`); err != nil {
		r.t.Fatal(err)
	}
	var err error
	if q.sdk, err = q.dial(context.Background(), "acme#quiet", "ann", "10.0.0.1"); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = q.sdk.conn.CloseNow() })
	body, lines := io.Pipe()
	rq, err := http.NewRequest("POST", r.url("/v1/apps/acme/quiet/events:stream"), body)
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", "application/x-ndjson")
	rq.Header.Set("Authorization", "Bearer "+r.AdminKey())
	rq.Header.Set("X-Forwarded-For", "10.0.0.1")
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		lines.Close()
		answer.Body.Close()
	})
	q.lines, q.taken = lines, bufio.NewReader(answer.Body)
	return q
}

// rounds uses every door some times, and returns the median of what each took.
func (q *quietApp) rounds(n int) doorTimes {
	q.t.Helper()
	all := map[string][]time.Duration{}
	for range n {
		q.n++
		for _, door := range quietDoors {
			began := time.Now()
			err := door.use(q)
			// A machine that is busy refuses everybody.
			for err != nil && time.Since(began) < patience {
				q.t.Logf("%s of the quiet app, after %s: %v", door.name, time.Since(began), err)
				time.Sleep(20 * time.Millisecond) // of those who come back
				err = door.use(q)
			}
			if err != nil {
				q.t.Errorf("%s of the quiet app, in vain: %v", door.name, err)
			}
			all[door.name] = append(all[door.name], time.Since(began))
		}
	}
	return median(all)
}

// ask makes a request, which must be answered with 200.
func (q *quietApp) ask(method, path, bearer, body string) error {
	status, answer := q.from("10.0.0.1", method, path, bearer, body)
	if status != 200 {
		return fmt.Errorf("%d %s", status, answer)
	}
	return nil
}

// line sends an event on the stream, and waits until it is taken.
func (q *quietApp) line() error {
	if _, err := fmt.Fprintf(q.lines, "{\"type\":\"message.delivered\",\"message\":\"q%d\",\"user\":\"ben\",\"peer\":\"ann\"}\n", q.n); err != nil {
		return err
	}
	answer, err := q.taken.ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, `{"accepted":`) {
		err = fmt.Errorf("%s", answer)
	}
	return err
}

// request sends an event as a NATS request, and waits until it is decided.
func (q *quietApp) request() error {
	m := nats.NewMsg("receipts.submit.acme.quiet")
	m.Header.Set("Receiptd-Wait", "applied")
	m.Data = fmt.Appendf(nil, `{"type":"message.read","message":"q%d","user":"ben","peer":"ann"}`, q.n)
	answer, err := q.nc.RequestMsg(m, answersWithin)
	if err == nil && answer.Header.Get("Nats-Service-Error") != "" {
		err = fmt.Errorf("%s", answer.Data)
	}
	return err
}

// send writes to ben by the SDK's protocol, and waits until that is decided.
func (q *quietApp) send() error {
	id := uint64(q.n)
	q.sdk.write(chatFrame(id, "ben", "hello"))
	for {
		f := q.sdk.read()
		if f == nil {
			return io.EOF
		}
		var down msyncpb.SyncDown
		if f.GetCommand() == msyncpb.Frame_SYNC && proto.Unmarshal(f.Payload, &down) == nil && down.GetMetaId() == id {
			if code := down.GetStatus().GetCode(); code != msyncpb.Status_OK {
				return fmt.Errorf("%v", down.GetStatus())
			}
			return nil
		}
	}
}

// chatFrame is a text to a user.
func chatFrame(id uint64, to, text string) *msyncpb.Frame {
	return syncFrame(&msyncpb.SyncUp{Meta: &msyncpb.Meta{
		Id: &id, Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), To: &msyncpb.Name{Name: &to, Domain: proto.String(userDomain)},
		Payload: encoded(&msyncpb.Body{
			Type:     proto.Int32(int32(msyncpb.Body_CHAT)),
			Contents: []*msyncpb.Body_Content{{Type: proto.Int32(0), Text: &text}},
		}),
	}})
}
