package analytics_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/internal/fold"
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
	silent bool        // inserts are never answered
	late   ch.Position // where the last of these ends
}

func (m *memory) Ready(context.Context) error              { return nil }
func (m *memory) UseDays()                                 {}
func (m *memory) ForgetEarlierRules(context.Context) error { return nil }

func (m *memory) Position(context.Context, int) (ch.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at, nil
}

func (m *memory) Insert(ctx context.Context, b *ch.Block, token string) error {
	m.mu.Lock()
	m.tokens = append(m.tokens, token)
	silent := m.silent
	if m.late = b.Position(); !silent {
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
	return m.fillWith(t, log, analytics.Options{Dir: dir, BlockAge: time.Millisecond, CheckpointEvery: time.Hour, Logger: natstest.Logger(t)})
}

func (m *memory) fillWith(t *testing.T, log *consumertest.Log, o analytics.Options) (c *analytics.Consumer, stop func()) {
	t.Helper()
	c, err := analytics.New(log, m, o)
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

// Nobody knows what is under way where the note of it is lost, or an older one is in its place. So
// nothing is sent before that has arrived, or cannot any more.
func TestInsertThatNoNoteTellsOfIsNotRepeatedOtherwise(t *testing.T) {
	for name, harm := range map[string]func(note string, older []byte) error{
		"missing": func(note string, _ []byte) error { return os.Remove(note) },
		"damaged": func(note string, _ []byte) error { return os.Truncate(note, 10) },
		"older":   func(note string, older []byte) error { return os.WriteFile(note, older, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			log := consumertest.Open(t, 1)
			log.Group(3)
			sink, dir := &memory{}, t.TempDir()
			note := filepath.Join(dir, "p000", "INTENT")
			fill := func() {
				c, stop := sink.fill(t, log, dir)
				consumertest.Eventually(t, "the sink has all", func() bool { return c.Stats()[0].Stored == log.Last(0) })
				stop()
			}
			fill()
			older := must[[]byte](t)(os.ReadFile(note))
			log.Put(1, burst(0, 5, 3)...)
			fill()
			log.Put(1, burst(5, 9, 3)...)
			sent := len(sink.sent())
			sink.silent = true
			_, stop := sink.fill(t, log, dir)
			consumertest.Eventually(t, "an insert is under way", func() bool { return len(sink.sent()) > sent })
			stop()
			sent = len(sink.sent())
			log.Put(1, burst(9, 12, 3)...)
			if err := harm(note, older); err != nil {
				t.Fatal(err)
			}
			sink.silent = false
			arrived := time.AfterFunc(100*time.Millisecond, func() {
				sink.mu.Lock()
				defer sink.mu.Unlock()
				sink.at = sink.late
			})
			defer arrived.Stop()
			late := sink.late.Sequence
			c, end := sink.fillWith(t, log, analytics.Options{Dir: dir, BlockAge: time.Millisecond, InsertMost: 2 * time.Second, Logger: natstest.Logger(t)})
			consumertest.Eventually(t, "the sink has all again", func() bool { return c.Stats()[0].Stored == log.Last(0) })
			end()
			if next := sink.sent()[sent]; !strings.HasPrefix(next, fmt.Sprintf("RECEIPTS_0:%d-", late+1)) {
				t.Errorf("an insert up to entry %d arrived late, and then %s was sent", late, next)
			}
		})
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

// sharedIntents are the intents of several consumers, of which the latest may write.
type sharedIntents struct {
	mu     sync.Mutex
	writer int
	last   map[int]analytics.Intent
}

// of is what one of the consumers sees; it becomes the writer when it reads.
func (s *sharedIntents) of(k int) analytics.Intents { return intentsOf{s, k} }

type intentsOf struct {
	*sharedIntents
	k int
}

func (i intentsOf) Read(_ context.Context, partition int) (analytics.Intent, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.writer = i.k
	return i.last[partition], nil
}

func (i intentsOf) Write(_ context.Context, partition int, x analytics.Intent) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.writer != i.k {
		return analytics.ErrFenced
	}
	i.last[partition] = x
	return nil
}

// A consumer that stands still in the middle of an insert is taken over from: the other one repeats
// that insert with the same token and goes on, and the first one, when it wakes, writes
// nothing more.
func TestSecondConsumerTakesOver(t *testing.T) {
	log := consumertest.Open(t, 1)
	log.Group(3)
	log.Put(5, burst(0, 40, 3)...)
	shared := &sharedIntents{last: map[int]analytics.Intent{}}
	run := func(m *memory, k int) (done chan error, stop func()) {
		c := must[*analytics.Consumer](t)(analytics.New(log, m, analytics.Options{Dir: t.TempDir(), BlockAge: time.Millisecond, Intents: shared.of(k), Logger: natstest.Logger(t)}))
		ctx, cancel := context.WithCancel(testContext(t))
		done = make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		return done, func() {
			cancel()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	stuck := &memory{silent: true}
	first, stop := run(stuck, 1)
	consumertest.Eventually(t, "an insert is under way", func() bool { return len(stuck.sent()) == 1 })
	m := &memory{}
	second, stopSecond := run(m, 2)
	consumertest.Eventually(t, "the other one has stored all", func() bool {
		p, _ := m.Position(testContext(t), 0)
		return p.Sequence == log.Last(0)
	})
	if a, b := stuck.sent()[0], m.sent()[0]; a != b {
		t.Errorf("the insert under way is repeated as %s, it was %s", b, a)
	}
	// It wakes: what it had sent has the same token, and there is nothing else.
	if err := shared.of(1).Write(testContext(t), 0, analytics.Intent{First: 1, Last: 1}); !errors.Is(err, analytics.ErrFenced) {
		t.Error(err)
	}
	stop()
	<-first
	stopSecond()
	<-second
}

// overtaken is a sink in which the consumer of before goes on while its successor is told how far
// it is.
type overtaken struct {
	memory
	once sync.Once
	goOn func()
}

func (o *overtaken) Position(ctx context.Context, partition int) (ch.Position, error) {
	at, err := o.memory.Position(ctx, partition)
	o.once.Do(o.goOn)
	return at, err
}

// A consumer that wakes while another one takes over may finish the insert that it has noted, and
// none after that: it would be sent once more, in blocks of other entries, by the other one.
func TestNothingIsNotedBesideATakeover(t *testing.T) {
	log := consumertest.Open(t, 1)
	log.Group(3)
	log.Put(1, burst(0, 6, 3)...)
	shared := &sharedIntents{last: map[int]analytics.Intent{}}
	first := shared.of(1)
	must[analytics.Intent](t)(first.Read(testContext(t), 0))
	noted := analytics.Intent{First: 1, Last: 2}
	if err := first.Write(testContext(t), 0, noted); err != nil {
		t.Fatal(err)
	}
	sink := &overtaken{}
	sink.goOn = func() { // the insert arrives, and the next one is on its way
		if next := (analytics.Intent{First: 3, Last: 4}); first.Write(testContext(t), 0, next) == nil {
			noted = next
		}
	}
	c := must[*analytics.Consumer](t)(analytics.New(log, sink, analytics.Options{Dir: t.TempDir(), BlockAge: time.Millisecond, Intents: shared.of(2), Logger: natstest.Logger(t)}))
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	consumertest.Eventually(t, "the other one has stored all", func() bool {
		p, _ := sink.memory.Position(testContext(t), 0)
		return p.Sequence == log.Last(0)
	})
	cancel()
	if err := errors.Join(<-done, c.Close()); err != nil {
		t.Error(err)
	}
	if list := sink.sent(); noted.First != 1 || list[0] != "RECEIPTS_0:1-2" {
		t.Errorf("%+v was noted beside a takeover; entries 1 and 2 were under way, and %q was sent", noted, list)
	}
}

// A state for the sink that is not good is kept until the one in its place has come to where the
// sink was, and is on the disk; then it is removed.
func TestBadStateForTheSinkIsKeptUntilTheNewOneIsWhole(t *testing.T) {
	log := consumertest.Open(t, 1)
	log.Group(3)
	log.Put(1, burst(0, 5, 3)...)
	sink, dir := &memory{}, t.TempDir()
	root := filepath.Join(dir, "p000")
	run := func(checkpoints time.Duration) (c *analytics.Consumer, stop func()) {
		return sink.fillWith(t, log, analytics.Options{
			Dir: dir, BlockAge: time.Millisecond, RefreshEvery: time.Millisecond, CheckpointEvery: checkpoints, Logger: natstest.Logger(t),
		})
	}
	aside := func() int { return len(must[[]string](t)(fold.Aside(nil, root))) }
	c, stop := run(time.Millisecond)
	consumertest.Eventually(t, "it is kept", func() bool { return c.Safe(0) == log.Last(0) })
	stop()
	if err := os.WriteFile(filepath.Join(root, "000001", "CORRUPT"), []byte("planted"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, stop = run(time.Hour) // the new one is never whole on the disk
	consumertest.Eventually(t, "it is folded again", func() bool { return c.Stats()[0].Stored == log.Last(0) })
	if aside() != 1 {
		t.Errorf("%d are aside", aside())
	}
	stop()
	if aside() != 1 {
		t.Errorf("%d are aside after it has ended", aside())
	}
	_, stop = run(time.Millisecond)
	consumertest.Eventually(t, "what was put aside is removed", func() bool { return aside() == 0 })
	stop()
}
