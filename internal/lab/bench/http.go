package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// httpEvents is the number of events in a request, httpRequests that of requests on a connection.
const (
	httpEvents   = 1000
	httpRequests = 60
)

// http measures the HTTP edge, with a connection for each generator. The bodies are made
// beforehandhand: the edge is measured, not its client.
func (r *run) http(ctx context.Context) (err error) {
	r.result.HTTPNDJSON, err = r.post(ctx, "application/x-ndjson", func(evs []events.Event) []byte {
		var body []byte
		for i := range evs {
			body = append(events.AppendJSON(body, &evs[i]), '\n')
		}
		return body
	})
	if err != nil {
		return err
	}
	r.result.HTTPProtobuf, err = r.post(ctx, "application/x-protobuf", func(evs []events.Event) []byte {
		return events.AppendEventList(nil, evs)
	})
	return err
}

// request is a body for an app, and how many receipts are in it.
type request struct {
	app      string
	body     []byte
	receipts int
}

func (r *run) post(ctx context.Context, contentType string, encode func([]events.Event) []byte) (rate float64, err error) {
	requests := make([][]request, len(r.gens))
	receipts := 0
	for i, g := range r.gens {
		for range httpRequests {
			for _, q := range requestsOf(g, encode) {
				requests[i] = append(requests[i], q)
				receipts += q.receipts
			}
		}
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(r.gens), DisableCompression: true}}
	defer client.CloseIdleConnections()
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range requests {
		group.Go(func() error {
			for _, q := range requests[i] {
				if err := r.send(ctx, client, contentType, q); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return float64(receipts) / time.Since(start).Seconds(), r.server.CaughtUp(context.WithoutCancel(ctx))
}

// requestsOf makes the bodies for the next events of a generator, one for each app that is in them.
func requestsOf(g *sim.Generator, encode func([]events.Event) []byte) []request {
	byApp := map[string][]events.Event{}
	for _, e := range g.Next(nil, httpEvents) {
		byApp[e.App] = append(byApp[e.App], e)
	}
	var list []request
	for app, evs := range byApp {
		q := request{app: app, body: encode(evs)}
		for i := range evs {
			if k := evs[i].Kind; k == events.MessageRead || k == events.MessageDelivered {
				q.receipts++
			}
		}
		list = append(list, q)
	}
	return list
}

func (r *run) send(ctx context.Context, client *http.Client, contentType string, q request) error {
	url := "http://" + r.server.Addr().String() + "/v1/apps/" + strings.Replace(q.app, "#", "/", 1) + "/events"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(q.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+r.server.AdminKey())
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return err
}
