package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// nullLog takes everything and keeps nothing, so that what is left is the cost of the edge. Its
// tickets are made before.
type nullLog struct{ one, thousand *eventlog.Ticket }

func newNullLog() nullLog {
	return nullLog{one: fakeTicket(1, 1, nil), thousand: fakeTicket(1, benchEvents, nil)}
}

func (l nullLog) Submit(_ context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	if len(evs) == 1 {
		return l.one, nil
	}
	return l.thousand, nil
}

func benchAPI(b *testing.B, log gateway.Log) *API {
	b.Helper()
	tokens, err := gateway.NewTokens(bytes.Repeat([]byte("k"), gateway.MinTokenKeyBytes), nil)
	if err != nil {
		b.Fatal(err)
	}
	state := newFakeState()
	g, err := New(Config{
		Positions: &fakePositions{at: []uint64{0, 0}}, State: state, Log: log, Commands: &fakeCommands{state: state}, Analytics: &fakeAnalytics{}, Notary: fakeNotary{},
		Notify:     notify.New(testPartitions, notify.Options{}),
		Partitions: testPartitions, AdminKey: testAdminKey, Tokens: tokens, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

const benchEvents = 1000

// benchBodies are a thousand receipts in each format, with ids like real ones.
func benchBodies() map[string]string {
	var evs []events.Event
	var lines []string
	for i := range benchEvents {
		e := events.Event{
			Kind: events.MessageRead, Message: fmt.Sprintf("1034958273650%06d", i/40), User: fmt.Sprintf("user-%05d", i*7919%10007),
			Group: fmt.Sprintf("2394857230948%d", i/100),
		}
		evs = append(evs, e)
		lines = append(lines, string(events.AppendJSON(nil, &e)))
	}
	return map[string]string{
		"application/x-ndjson":   strings.Join(lines, "\n"),
		"application/json":       "[" + strings.Join(lines, ",") + "]",
		"application/x-protobuf": string(events.AppendEventList(nil, evs)),
	}
}

// nullWriter is a response that goes nowhere.
type nullWriter struct{ header http.Header }

func (w *nullWriter) Header() http.Header              { return w.header }
func (w *nullWriter) Write(p []byte) (int, error)      { return len(p), nil }
func (w *nullWriter) SetReadDeadline(time.Time) error  { return nil }
func (w *nullWriter) SetWriteDeadline(time.Time) error { return nil }
func (w *nullWriter) WriteHeader(status int) {
	if status != http.StatusOK {
		panic(status)
	}
}

// BenchmarkPostEvents is the cost of the handler alone, per request of a thousand events. Events
// must cost no allocation: what a request costs is the same for one.
func BenchmarkPostEvents(b *testing.B) {
	for contentType, body := range benchBodies() {
		b.Run(strings.TrimPrefix(contentType, "application/"), func(b *testing.B) {
			api := benchAPI(b, newNullLog())
			r := httptest.NewRequest("POST", eventsPath, nil)
			r.Header.Set("Authorization", "Bearer "+testAdminKey)
			r.Header.Set("Content-Type", contentType)
			r.ContentLength = int64(len(body))
			reader := strings.NewReader(body)
			r.Body = io.NopCloser(reader)
			w := &nullWriter{header: http.Header{}}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				api.ServeHTTP(w, r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchEvents), "ns/event")
		})
	}
}

// BenchmarkPostEvent is the cost of the handler for a request of one event that waits until it is
// applied: what a backend pays that posts each receipt as it comes. The contexts are those that
// net/http makes.
func BenchmarkPostEvent(b *testing.B) {
	api := benchAPI(b, newNullLog())
	api.cfg.State.(*fakeState).outcomes = func(context.Context, int, uint64) ([]events.Outcome, error) {
		return []events.Outcome{0, 0, 0, events.OutcomeApplied}, nil
	}
	body := `{"type":"message.read","message":"1034958273650000001","user":"user-07919","group":"23948572309480"}`
	r := httptest.NewRequest("POST", eventsPath+"?wait=applied", nil)
	r.Header.Set("Authorization", "Bearer "+testAdminKey)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(body))
	reader := strings.NewReader(body)
	connection, end := context.WithCancel(new(API).ConnContext(context.Background(), nil))
	defer end()
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithCancel(connection)
		r := r.WithContext(ctx)
		r.Body = io.NopCloser(reader)
		reader.Reset(body)
		api.ServeHTTP(&nullWriter{header: http.Header{}}, r)
		cancel()
	}
}

// BenchmarkPostEventsOverHTTP adds the network and the client: 16 connections on the loopback, into
// nothing and into the real log with an fsync before each answer.
func BenchmarkPostEventsOverHTTP(b *testing.B) {
	body := benchBodies()["application/x-ndjson"]
	for _, name := range []string{"null", "durable"} {
		b.Run(name, func(b *testing.B) {
			var log gateway.Log = newNullLog()
			if name == "durable" {
				log = natstest.OpenLog(b, eventlog.Config{Partitions: testPartitions, Logger: slog.New(slog.DiscardHandler)})
			}
			server := httptest.NewUnstartedServer(nil)
			server.Config = benchAPI(b, log).Server()
			server.Start()
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
			b.SetParallelism(8) // times the cores
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r, _ := http.NewRequest("POST", server.URL+eventsPath, strings.NewReader(body))
					r.Header.Set("Authorization", "Bearer "+testAdminKey)
					r.Header.Set("Content-Type", "application/x-ndjson")
					res, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode != 200 {
						b.Errorf("status %d", res.StatusCode)
					}
				}
			})
			b.ReportMetric(float64(b.N*benchEvents)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchEvents), "ns/event")
		})
	}
}
