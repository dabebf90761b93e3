package peers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/bench/measure"
	"github.com/receiptd/receiptd/internal/runtime"
	"github.com/receiptd/receiptd/internal/sim"
)

// remote is receiptd as a process of its own, used over HTTP as any backend would.
type remote struct {
	host host

	server process
	client *http.Client
	url    string // of the apps
	key    string
	data   string
}

// Start starts receiptd with its defaults and makes apps and groups.
func (r *remote) Start(ctx context.Context, dir string, traffic *sim.Traffic) error {
	address, key, err := r.host.serve(ctx, &r.server, serverReceiptd, dir)
	if err != nil {
		return err
	}
	r.url, r.key, r.data = address+"/v1/apps/", key, filepath.Join(dir, "data")
	r.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: streams, DisableCompression: true}}
	err = r.server.ready(ctx, func(ctx context.Context) error {
		return r.call(ctx, http.MethodGet, address+"/readyz", "", nil, nil)
	})
	if err != nil {
		return err
	}
	settings, err := json.Marshal(map[string]any{"group_receipts": map[string]any{"enabled": true, "max_group_size": 0}})
	if err != nil {
		return err
	}
	for _, app := range traffic.Apps() {
		if err := r.call(ctx, http.MethodPut, r.app(app), "application/json", settings, nil); err != nil {
			return err
		}
	}
	return inPieces(traffic.Setup(), 100, func(evs []events.Event) error { return r.Load(ctx, evs) })
}

// inPieces calls do with at most n events at a time.
func inPieces(evs []events.Event, n int, do func([]events.Event) error) error {
	for len(evs) > 0 {
		piece := evs[:min(n, len(evs))]
		if err := do(piece); err != nil {
			return err
		}
		evs = evs[len(piece):]
	}
	return nil
}

// app is the URL of an app.
func (r *remote) app(key string) string { return r.url + strings.Replace(key, "#", "/", 1) }

// Load posts the events of each app in it and waits until all are folded. Every one has to be applied, repeat
// another, or wait for its message.
func (r *remote) Load(ctx context.Context, evs []events.Event) error {
	var bodies map[string][]byte
	for i := range evs {
		if bodies == nil {
			bodies = make(map[string][]byte, 1)
		}
		bodies[evs[i].App] = append(events.AppendJSON(bodies[evs[i].App], &evs[i]), '\n')
	}
	for app, body := range bodies {
		contentType := "application/x-ndjson"
		if len(evs) == 1 {
			contentType = "application/json"
		}
		if err := r.call(ctx, http.MethodPost, r.app(app)+"/events?wait=applied", contentType, body, nil); err != nil {
			return err
		}
	}
	return nil
}

// Counts asks for all in one request.
func (r *remote) Counts(ctx context.Context, app string, messages []string) (map[string]int, error) {
	body, err := json.Marshal(map[string][]string{"ids": messages})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Counts map[string]struct{ Read int }
	}
	if err := r.call(ctx, http.MethodPost, r.app(app)+"/messages:counts", "application/json", body, &answer); err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	for id, c := range answer.Counts {
		counts[id] = c.Read
	}
	return counts, nil
}

// call sends a request and decodes the answer into result, if there is one to decode.
func (r *remote) call(ctx context.Context, method, url, contentType string, body []byte, result any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+r.key)
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	if err == nil && result != nil {
		err = json.Unmarshal(answer, result)
	}
	return err
}

// CPU is that of the server.
func (r *remote) CPU() (float64, error) { return r.server.cpu() }

// Bytes are those of log and state after a stop, when all of the state is written.
func (r *remote) Bytes(context.Context) (float64, error) {
	if err := r.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(r.data)
}

// Stop drains the server.
func (r *remote) Stop() error {
	if r.client != nil {
		r.client.CloseIdleConnections()
	}
	return r.server.stop(syscall.SIGTERM)
}

// embedded is receiptd in this process, used as a Go program would that has it built in. Its processor time is
// that of the whole process, the traffic's making included.
type embedded struct {
	server *runtime.Server
	stop   context.CancelFunc
	ended  chan error
	data   string
}

// Start opens log and state and makes apps and groups.
func (e *embedded) Start(ctx context.Context, dir string, traffic *sim.Traffic) (err error) {
	runtime.TuneMemory()
	cfg := receiptdConfig(dir)
	e.data = cfg.Data
	if e.server, err = runtime.Build(ctx, cfg, warnings(os.Stderr), "peers"); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop, e.ended = stop, make(chan error, 1)
	go func() { e.ended <- e.server.Run(running) }()
	for _, app := range traffic.Apps() {
		if _, err := e.server.Configure(ctx, app, traffic.Settings()); err != nil {
			return err
		}
	}
	return inPieces(traffic.Setup(), 100, func(evs []events.Event) error { return e.Load(ctx, evs) })
}

// Load appends the events and waits until they are folded.
func (e *embedded) Load(ctx context.Context, evs []events.Event) error {
	ticket, err := e.server.Log.Submit(ctx, evs)
	if err != nil {
		return err
	}
	if err := ticket.Wait(ctx); err != nil {
		return err
	}
	for _, p := range ticket.Positions() {
		if err := e.server.Projector.WaitFor(ctx, p.Partition, p.Sequence); err != nil {
			return err
		}
	}
	return nil
}

// Counts asks the fold.
func (e *embedded) Counts(_ context.Context, app string, messages []string) (map[string]int, error) {
	answer, err := e.server.Projector.Counts(app, messages)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	for id, c := range answer {
		counts[id] = c.Read
	}
	return counts, nil
}

// CPU is that of this process.
func (e *embedded) CPU() (float64, error) { return measure.CPUSeconds(), nil }

// Bytes are those of log and state after a stop, when all of the state is written.
func (e *embedded) Bytes(context.Context) (float64, error) {
	if err := e.Stop(); err != nil {
		return 0, err
	}
	return measure.DiskBytes(e.data)
}

// Stop drains and closes.
func (e *embedded) Stop() error {
	if e.server == nil {
		return nil
	}
	var err error
	if e.stop != nil {
		e.stop()
		err = <-e.ended
	}
	err = errors.Join(err, e.server.Close(context.Background()))
	e.server, e.stop = nil, nil
	return err
}
