package child

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Receiptd is receiptd with its defaults as a process of its own, used over HTTP as any backend
// would. Load, Counts and Get may be called from many goroutines.
type Receiptd struct {
	self   Self
	format Format
	door   bool  // the one for NATS is open
	node   *Node // nil if it is none

	server      Process
	dir         string
	key, nats   string
	connections *connections // nil before the first start
	opened      time.Time
}

// Format is the encoding of events in a request's body.
type Format uint8

// The formats. With NDJSON, a request of one event is plain JSON.
const (
	NDJSON Format = iota
	Protobuf
)

// NewReceiptd returns a server that has not been started.
func NewReceiptd(self Self, format Format) *Receiptd { return &Receiptd{self: self, format: format} }

// WithNATS has the server open its door for NATS clients.
func (r *Receiptd) WithNATS() *Receiptd {
	r.door = true
	return r
}

// Start starts the server, whose data is in the directory "data" of dir, and waits until it is
// ready. After [Receiptd.Kill] or [Receiptd.Stop] it may be called again.
func (r *Receiptd) Start(ctx context.Context, dir string) (err error) {
	r.dir = dir
	name := serverReceiptd
	switch {
	case r.node != nil:
		name = serverNode
		if err := r.node.write(dir); err != nil {
			return err
		}
	case r.door:
		name = serverReceiptdNATS
	}
	url, key, err := r.self.Start(ctx, &r.server, name, dir)
	if err != nil {
		return err
	}
	key, r.nats, _ = strings.Cut(key, " ")
	r.key, r.connections = key, &connections{address: strings.TrimPrefix(url, "http://")}
	r.opened = time.Now()
	return r.server.Ready(ctx, func(ctx context.Context) error { return r.Get(ctx, "/readyz", nil) })
}

// setupAtOnce is how many of the events that create groups go into one request.
const setupAtOnce = 100

// Prepare creates the apps and groups of the traffic.
func (r *Receiptd) Prepare(ctx context.Context, traffic *sim.Traffic) error {
	settings, err := json.Marshal(map[string]any{"group_receipts": map[string]any{"enabled": true, "max_group_size": 0}})
	if err != nil {
		return err
	}
	for _, app := range traffic.Apps() {
		if err := r.call(ctx, http.MethodPut, App(app), "application/json", settings, nil); err != nil {
			return err
		}
	}
	for evs := range slices.Chunk(traffic.Setup(), setupAtOnce) {
		if err := r.Load(ctx, evs); err != nil {
			return err
		}
	}
	return nil
}

// App is the path of an app.
func App(key string) string { return "/v1/apps/" + strings.Replace(key, "#", "/", 1) }

// Load posts events, those of one app in a row in one request, and waits until all are folded. Each
// event must be applied, repeat another, or wait for its message.
func (r *Receiptd) Load(ctx context.Context, evs []events.Event) error {
	for len(evs) > 0 {
		app := evs[0].App
		n := slices.IndexFunc(evs, func(e events.Event) bool { return e.App != app })
		if n < 0 {
			n = len(evs)
		}
		contentType, body := r.body(evs[:n])
		if err := r.call(ctx, http.MethodPost, App(app)+"/events?wait=applied", contentType, body, nil); err != nil {
			return err
		}
		evs = evs[n:]
	}
	return nil
}

// body encodes events in the format of the requests.
func (r *Receiptd) body(evs []events.Event) (contentType string, body []byte) {
	if r.format == Protobuf {
		return "application/x-protobuf", events.AppendEventList(nil, evs)
	}
	for i := range evs {
		body = append(events.AppendJSON(body, &evs[i]), '\n')
	}
	if len(evs) == 1 {
		return "application/json", body
	}
	return "application/x-ndjson", body
}

// Counts returns how many users have read each message, of at most 1000. All are asked for in one
// request.
func (r *Receiptd) Counts(ctx context.Context, app string, messages []string) (map[string]int, error) {
	body, err := json.Marshal(map[string][]string{"ids": messages})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Counts map[string]struct{ Read int }
	}
	if err := r.call(ctx, http.MethodPost, App(app)+"/messages:counts", "application/json", body, &answer); err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	for id, c := range answer.Counts {
		counts[id] = c.Read
	}
	return counts, nil
}

// Get asks for a path and decodes the answer into result, if that is not nil.
func (r *Receiptd) Get(ctx context.Context, path string, result any) error {
	return r.call(ctx, http.MethodGet, path, "", nil, result)
}

// Verify has the server replay its log beside the live state and returns how many events a second
// that took. It fails if the two are not equal.
func (r *Receiptd) Verify(ctx context.Context) (eventsPerS float64, err error) {
	answer, err := r.ask(ctx, http.MethodPost, "/v1/admin/verify", "", nil)
	if err != nil {
		return 0, err
	}
	lines := bytes.Split(bytes.TrimSpace(answer), []byte("\n"))
	var last struct {
		Result struct {
			Equal      bool    `json:"equal"`
			EventsPerS float64 `json:"events_per_s"`
		} `json:"result"`
	}
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		return 0, err
	}
	if !last.Result.Equal {
		return 0, fmt.Errorf("the replay is not proven: %s", lines[len(lines)-1])
	}
	return last.Result.EventsPerS, nil
}

// Metrics returns the server's metrics by name, summed over their labels.
func (r *Receiptd) Metrics(ctx context.Context) (map[string]float64, error) {
	text, err := r.ask(ctx, http.MethodGet, "/metrics", "", nil)
	if err != nil {
		return nil, err
	}
	sums := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ') // a label may have spaces
		if at < 0 || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line[:at], "{")
		v, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
		sums[name] += v
	}
	return sums, nil
}

// call sends a request and decodes the answer into result, if there is one to decode.
func (r *Receiptd) call(ctx context.Context, method, path, contentType string, body []byte, result any) error {
	answer, err := r.ask(ctx, method, path, contentType, body)
	if err == nil && result != nil {
		err = json.Unmarshal(answer, result)
	}
	return err
}

// ask sends a request and returns the answer. Any status but 200 is an error.
func (r *Receiptd) ask(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	headers := "Authorization: Bearer " + r.key + "\r\nContent-Type: " + contentType + "\r\n"
	status, answer, err := r.connections.ask(ctx, method, path, headers, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s: %s", status, http.StatusText(status), answer)
	}
	return answer, err
}

// Dir is where the server's directories are.
func (r *Receiptd) Dir() string { return r.dir }

// Opened returns when the server had opened its log and its state, and was listening.
func (r *Receiptd) Opened() time.Time { return r.opened }

// URL is the server's address, from its start on.
func (r *Receiptd) URL() string { return "http://" + r.connections.address }

// Key is the server's admin key.
func (r *Receiptd) Key() string { return r.key }

// NATS is the URL of the door for NATS clients, with user and password, if that is open.
func (r *Receiptd) NATS() string { return r.nats }

// PID is the server's process id while it runs.
func (r *Receiptd) PID() int { return r.server.cmd.Process.Pid }

// LastWords are the last of the server's messages.
func (r *Receiptd) LastWords() string { return r.server.lastWords() }

// CPU is the processor time of the server, in seconds.
func (r *Receiptd) CPU() (float64, error) { return r.server.CPU() }

// Stop drains the server. It may be called again, and after a failed start.
func (r *Receiptd) Stop() error { return r.end(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (r *Receiptd) Kill() error { return r.end(syscall.SIGKILL) }

func (r *Receiptd) end(signal syscall.Signal) error {
	if r.connections != nil {
		r.connections.close()
	}
	return r.server.Stop(signal)
}
