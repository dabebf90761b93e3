package analytics_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// memory is a sink that keeps nothing but positions and the tokens of what it was sent.
type memory struct {
	mu     sync.Mutex
	at     ch.Position
	tokens []string
	silent bool // inserts are never answered
}

func (m *memory) Ready(context.Context) error { return nil }
func (m *memory) UseDays()                    {}

func (m *memory) Position(context.Context, int) (ch.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at, nil
}

func (m *memory) Insert(ctx context.Context, b *ch.Block, token string) error {
	m.mu.Lock()
	m.tokens = append(m.tokens, token)
	silent := m.silent
	if !silent {
		m.at = b.Position()
	}
	m.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (m *memory) InsertMessages(context.Context, []ch.MessageRow) error    { return nil }
func (m *memory) InsertCohorts(context.Context, int, []ch.CohortRow) error { return nil }

func (m *memory) Replay(context.Context, ch.Span, func(*projections.Decoded) error) error { return nil }

func (m *memory) sent() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.tokens...)
}

// fill fills it from a log until the returned function is called.
func (m *memory) fill(t *testing.T, log *consumertest.Log, dir string) (c *analytics.Consumer, stop func()) {
	t.Helper()
	c, err := analytics.New(log, m, analytics.Options{Dir: dir, BlockAge: time.Millisecond, CheckpointEvery: time.Hour, Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// The insert that was under way when a process ended may still arrive. So the next one sends the
// very same block first, under the same name, although there is more in the log by then.
func TestInterruptedInsertIsRepeatedAsItWas(t *testing.T) {
	log := consumertest.Open(t, 1)
	log.Group(3)
	sink := &memory{silent: true}
	dir := t.TempDir()
	_, stop := sink.fill(t, log, dir)
	consumertest.Eventually(t, "an insert is under way", func() bool { return len(sink.sent()) == 1 })
	stop()
	log.Put(1, burst(0, 5, 3)...)

	_, stop = sink.fill(t, log, dir)
	consumertest.Eventually(t, "an insert is under way again", func() bool { return len(sink.sent()) == 2 })
	stop()
	if list := sink.sent(); list[0] != list[1] {
		t.Errorf("%s was under way, and then %s was sent", list[0], list[1])
	}
}

// What the sink has and the fold's checkpoint does not must stay in the log.
func TestEntriesAreNotSafeBeforeACheckpoint(t *testing.T) {
	log := consumertest.Open(t, 1)
	log.Group(3)
	log.Put(1, burst(0, 5, 3)...)
	sink := &memory{}
	c, stop := sink.fill(t, log, t.TempDir())
	defer stop()
	consumertest.Eventually(t, "the sink has all", func() bool { return c.Stats()[0].Stored == log.Last(0) })
	if safe := c.Safe(0); safe != 0 {
		t.Errorf("entries up to %d are safe; the sink has %d, no checkpoint has any", safe, log.Last(0))
	}
}
