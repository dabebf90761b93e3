package dst

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// tool is a process that repartitions the log while the server is down: the product does, over the
// broker. It dies at one of its steps, which are entries and changes of streams, or comes to the
// end.
type tool struct {
	steps   int
	dieAt   int // the step at which it dies; 0 = never
	before  bool
	dead    bool
	trouble *rand.Rand // draws what becomes of its requests; nil = all of them but one are answered
	// requests are those so far that change something; the one with the number troubleAt fares as
	// the fate says.
	requests, troubleAt int
	fate                fate
	// stale is a publisher that still has the log open and stood still. It goes on whenever it may.
	stale *stale
}

// stale publishes on its own subject, right behind what it published last or not at all.
type stale struct {
	tries int // how often it tries while the log is repartitioned
	own   uint64
}

// staleName is what the tool knows of the stale publisher.
var staleName = eventlog.PublisherID{Node: "n2", Epoch: "e1"}

// step counts a step of the tool and says what becomes of it there.
func (x *tool) step() moment {
	switch x.steps++; {
	case x.dead:
		return dead
	case x.steps != x.dieAt:
		return alive
	case x.before:
		x.dead = true
		return diesBefore
	}
	return diesAfter
}

// publish has the stale publisher store an entry, unless it is fenced. b.mu is held.
func (x *stale) publish(b *broker) {
	m := message{
		subject: events.NodeBatchSubject(0, staleName.Node, staleName.Epoch), data: []byte{0xff, 0, 3},
		header: []byte("NATS/1.0\r\n" + jetstream.ExpectedLastSubjSeqHeader + ": " + strconv.FormatUint(x.own, 10) + "\r\n\r\n"),
	}
	s, was := b.streams[streamName], b.tool
	b.tool = new(tool) // it is nobody's step
	last := s.last()
	switch b.append(s, m); {
	case s.last() > last:
		x.own = s.last()
	default:
		b.fired(kindFenced)
	}
	b.tool = was
}

// toolFates are what may become of an entry of a tool. Of a change of a stream it is one of the
// first two.
var toolFates = []fate{fateLostRequest, fateLostAnswer, fateLateRequest, fateTwiceAnswer, fateBreakBefore, fateBreakAfter, fateBusy, fateGarbage}

// troubled is what becomes of the next request of the tool, of so many of its fates.
func (x *tool) troubled(fates []fate) fate {
	if x == nil {
		return fateOK
	}
	x.requests++
	switch {
	case x.requests == x.troubleAt && slices.Contains(fates, x.fate):
		return x.fate
	case x.trouble == nil || x.trouble.IntN(5) > 0:
		return fateOK
	}
	return fates[x.trouble.IntN(len(fates))]
}

// repartition has the log of a server that is down repartitioned, by one tool after the other until
// one comes to the end.
func (w *world) repartition() {
	if w.split.fork > 0 || len(w.broker.entriesOf(0)) == 0 {
		return
	}
	var next func() *tool
	switch r := w.split.random; {
	case w.SplitAt > 0 && w.report.Lives == 1:
		at := w.SplitAt
		next = func() *tool {
			x := &tool{dieAt: at, before: w.Seed%2 == 0, stale: &stale{tries: 1}}
			if w.SplitFate != fateOK {
				x.dieAt, x.troubleAt, x.fate = 0, at, w.SplitFate
			}
			at = 0
			return x
		}
	case w.armed() && w.split.after > 0 && w.report.Lives >= w.split.after:
		next = func() *tool {
			x := &tool{trouble: r, stale: &stale{tries: r.IntN(4)}}
			if w.split.tools > 0 {
				w.split.tools--
				x.dieAt, x.before = 1+r.IntN(8), r.IntN(2) == 0
			}
			return x
		}
	default:
		return
	}
	before := w.broker.entriesOf(0)
	own := w.newcomer(before)
	for begun := false; ; {
		x := next()
		x.stale.own = own
		done, err := w.runTool(x)
		own = x.stale.own
		if !x.dead {
			if err != nil {
				w.fail("the log is not repartitioned: %v", err)
			}
			w.repartitioned(before, done, x)
			return
		}
		w.tracef("the repartition dies at step %d", x.steps)
		begun = begun || x.steps > 1 || !x.before
		w.refusesHalf(begun)
	}
}

// newcomer stores the first entry of the publisher that is going to be stale, and returns where.
func (w *world) newcomer(before []entry) uint64 {
	w.broker.frozen.Store(false)
	w.broker.mu.Lock()
	defer w.broker.mu.Unlock()
	x := &stale{}
	if i := slices.IndexFunc(before, func(e entry) bool { return e.Subject == events.NodeBatchSubject(0, staleName.Node, staleName.Epoch) }); i < 0 {
		x.publish(w.broker)
	}
	return x.own
}

// runTool runs a tool until it is through or dead.
func (w *world) runTool(x *tool) (done eventlog.Repartitioned, err error) {
	b := w.broker
	b.frozen.Store(false)
	b.mu.Lock()
	b.tool = x
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	nc, err := nats.Connect("nats://127.0.0.1:4222", nats.SetCustomDialer(dialer{b}), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.RetryOnFailedConnect(true))
	w.must(err)
	late := time.AfterFunc(1500*time.Millisecond, func() { b.release() })
	died := make(chan struct{})
	watch := time.NewTicker(50 * time.Millisecond)
	go func() { // nobody waits for the answers of one who is dead
		defer close(died)
		for {
			select {
			case <-watch.C:
				if b.frozen.Load() {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	cfg := w.logConfig()
	cfg.Logger = slog.New(slog.DiscardHandler)
	done, err = eventlog.RepartitionShared(ctx, nc, cfg, 2, []eventlog.PublisherID{staleName})
	late.Stop()
	cancel()
	<-died
	watch.Stop()
	nc.Close()
	synctest.Wait()
	b.release()
	b.mu.Lock()
	if !x.dead {
		x.stale.publish(b) // it wakes when all is done
	}
	b.tool = nil
	b.mu.Unlock()
	b.die()
	synctest.Wait()
	return done, err
}

// repartitioned holds that a log that was repartitioned has what it had, forks at its end, and has
// nothing behind that.
func (w *world) repartitioned(before []entry, done eventlog.Repartitioned, x *tool) {
	if done.From != 1 || done.To != 2 || len(done.ForkPoints) > 1 {
		w.fail("the log is repartitioned as %+v", done)
	}
	child := w.broker.streams["RECEIPTS_1"]
	if child == nil {
		w.fail("the log has no second partition")
	}
	entries, fork := w.broker.entriesOf(0), child.base
	forks := 0
	for i, e := range entries {
		switch evs, _ := decode(e, 1); {
		case i < len(before):
			if e.Sequence != before[i].Sequence || string(e.Data) != string(before[i].Data) {
				w.fail("entry %d is another one after the repartition", e.Sequence)
			}
		case len(evs) == 1 && evs[0].Kind == events.LogRepartitioned:
			forks++
		}
	}
	if forks != 1 || fork != uint64(len(entries)) || len(done.ForkPoints) == 1 && done.ForkPoints[0] != fork {
		w.fail("the log forks at entry %d, ends with %d, has %d entries that say so; the tool says %v", fork, len(entries), forks, done.ForkPoints)
	}
	if first := w.broker.entriesOf(1); len(first) != 1 {
		w.fail("the second partition begins with %d entries", len(first))
	}
	w.split.fork = fork
	w.synced, w.attested = fork, fork // the servers of the log stop in good order
	w.report.SplitSteps = x.steps
	w.fired(kindSplit)
	w.tracef("repartitioned at entry %d", fork)
}

// refusesHalf holds that nothing opens a log that is repartitioned in part, once that was begun.
func (w *world) refusesHalf(begun bool) {
	var c jetstream.StreamConfig
	w.must(json.Unmarshal(w.broker.streams[streamName].config, &c))
	begun = begun && c.Metadata["receiptd.partitions"] == "1"
	w.broker.frozen.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log, err := eventlog.Open(ctx, w.logConfig())
	if err == nil {
		_ = log.Close(ctx)
	}
	if errors.Is(err, eventlog.ErrRepartitioning) != begun || !begun && err != nil {
		w.fail("a log whose repartition was begun, %v: %v", begun, err)
	}
	if begun {
		w.fired(kindHalfway)
	}
	w.broker.die()
	synctest.Wait()
}
