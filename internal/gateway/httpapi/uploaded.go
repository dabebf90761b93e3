package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// acknowledger writes the answers to a stream of events.
type acknowledger struct {
	u         *upload
	accepted  int                 // of the client's count
	answered  int                 // what the last line said
	positions []eventlog.Position // of what came after it, one for each partition
	line      []byte
	hinted    time.Time // when a line had a hint last
	reader    gateway.OutcomeReader
}

// answer answers until the reader has ended and everything that it submitted is answered. Its error
// was told to the client, as far as that listens.
func (u *upload) answer(ctx context.Context, accepted int) error {
	k := &acknowledger{u: u, accepted: accepted, answered: accepted}
	err := k.run(ctx)
	if err == nil {
		err = u.end
	}
	return k.close(err)
}

func (k *acknowledger) run(ctx context.Context) error {
	now, cancel := context.WithCancel(ctx)
	cancel()
	for x := range k.u.unanswered {
		// What can be said without waiting goes into one line.
		if x.ticket.Wait(now) != nil {
			if err := k.tell(); err != nil {
				return err
			}
			wait := &lazyTimeout{Context: ctx, limit: k.u.a.cfg.Limits.Request}
			err := x.ticket.Wait(wait)
			wait.stop()
			if err != nil {
				return ingest.NotDurable(err)
			}
		}
		k.count(x)
		if k.u.applied {
			if err := k.outcomes(ctx, x); err != nil {
				return err
			}
		}
		if len(k.u.unanswered) == 0 {
			if err := k.tell(); err != nil {
				return err
			}
		}
	}
	return nil
}

// count notes that a chunk is durable.
func (k *acknowledger) count(x uploaded) {
	k.accepted += x.n
	k.u.a.accepted.Add(uint64(x.n))
	k.u.a.metrics.accepted.Add(float64(x.n))
	for _, p := range x.ticket.Positions() {
		k.note(p)
	}
}

// note has a position told with the next line. Sequences of a partition only grow.
func (k *acknowledger) note(p eventlog.Position) {
	for i := range k.positions {
		if k.positions[i].Partition == p.Partition {
			k.positions[i].Sequence = p.Sequence
			return
		}
	}
	k.positions = append(k.positions, p)
}

// tell answers what is durable and not answered yet.
func (k *acknowledger) tell() error {
	if k.accepted == k.answered {
		return nil
	}
	var hint []byte
	if now := time.Now(); now.Sub(k.hinted) > time.Second { // lines are many
		hint, k.hinted = k.u.a.hints.Of(k.u.c.app), now
	}
	k.line = ingest.AppendPositions(ingest.AppendAccepted(k.line[:0], k.accepted), k.positions, hint)
	return k.write()
}

func (k *acknowledger) write() error {
	k.answered, k.positions = k.accepted, k.positions[:0]
	return k.u.write(k.line)
}

// outcomes waits until a chunk is folded, and answers what became of its events.
func (k *acknowledger) outcomes(ctx context.Context, x uploaded) error {
	wait := &lazyTimeout{Context: ctx, limit: k.u.a.cfg.Limits.Apply}
	defer wait.stop()
	k.reader = gateway.OutcomeReader{State: k.u.a.cfg.State}
	index := k.accepted - x.n
	k.line = append(ingest.AppendAccepted(k.line[:0], k.accepted), ingest.BeginOutcomes...)
	first := true
	for at := range x.ticket.Locations() {
		outcome, err := k.reader.Await(wait, at)
		switch {
		case errors.Is(err, gateway.ErrFewOutcomes):
			return err
		case err != nil:
			return ingest.NotApplied(err, k.accepted, k.positions)
		}
		k.line = ingest.AppendOutcome(k.line, first, index, outcome)
		index, first = index+1, false
	}
	// An answer in a stream has no header to say where its events are.
	k.line = ingest.AppendPositions(append(k.line, ']'), k.positions, nil)
	return k.write()
}

// close answers what is left and, if there is one, the error that ended the stream, with what was
// accepted until then.
func (k *acknowledger) close(err error) error {
	if errors.Is(err, errUploadSlow) {
		return err
	}
	if told := k.tell(); told != nil || err == nil {
		return told
	}
	last := asAPIError(err).Refusal
	last.Accepted = k.accepted
	k.line = last.Body()
	if told := k.write(); told != nil {
		return told
	}
	return err
}
