package analytics_test

import (
	"context"
	"errors"
	"flag"
	"testing"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// streamEvents is how long the stream of TestClickHouseCountsWhatTheStateCounts is. A long one is
// for now and then.
var streamEvents = flag.Int("analytics.events", 20_000, "events of the stream that ClickHouse, state and books must count alike")

// The names of the shared test log that most tests use.
var (
	testContext  = consumertest.Context
	burst        = consumertest.Burst
	smallTraffic = consumertest.SmallTraffic
	checkCounts  = consumertest.CheckCounts
)

// must is for steps that are not what the test is about.
func must[T any](t testing.TB) func(v T, err error) T { return consumertest.Must[T](t) }

// foldAll runs a projector until the end of the test, and returns it when it has folded what is in
// the log.
func foldAll(t testing.TB, log *consumertest.Log) *projector.Projector {
	t.Helper()
	p := must[*projector.Projector](t)(projector.New(testContext(t), log, projector.Options{
		Dir: t.TempDir(), Logger: natstest.Logger(t),
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, p.Close()); err != nil {
			t.Error(err)
		}
	})
	for k := range log.Partitions() {
		if err := p.WaitFor(testContext(t), k, log.Last(k)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}
