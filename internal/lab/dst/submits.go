package dst

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// submit is a submit of a client and what it knows about it.
type submit struct {
	events []events.Event // with tags
	ticket *eventlog.Ticket
	err    error
	fate   submitFate
	at     []eventlog.Location
}

type submitFate int

const (
	underWay submitFate = iota
	acknowledged
	refused  // nothing of it may be in the log
	doubtful // it may be there, once
)

// submitSome submits the next events of the script, or again what failed.
func (w *world) submitSome() {
	w.leaveToOutsiders()
	if w.log == nil || len(w.script) == 0 {
		return
	}
	w.clock += int64(w.random.IntN(50))
	w.broker.setClock(w.clock)
	n := 1
	if w.random.IntN(3) == 0 {
		n += w.random.IntN(6)
	}
	internal := w.script[0].Kind.Internal()
	list := make([]events.Event, 0, n)
	for len(w.script) > 0 && len(list) < n && w.script[0].Kind.Internal() == internal && w.partitionOf(&w.script[0]) == 0 {
		e := w.script[0]
		w.script = w.script[1:]
		w.tagged++
		e.Time = w.tagged
		list = append(list, e)
	}
	s := &submit{events: list}
	w.submits = append(w.submits, s)
	if internal {
		s.ticket, s.err = w.log.SubmitTo(context.Background(), 0, list)
	} else {
		s.ticket, s.err = w.log.Submit(context.Background(), list)
	}
	if s.err != nil {
		s.fate = refused
	}
	w.tracef("submit %d..%d: %v", list[0].Time, w.tagged, s.err)
}

// collect takes in the answers that came.
func (w *world) collect() {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range w.submits {
		if s.fate != underWay {
			continue
		}
		err := s.ticket.Wait(done)
		switch {
		case errors.Is(err, context.Canceled) && !errors.Is(err, eventlog.ErrUnavailable):
			continue
		case err == nil:
			s.fate = acknowledged
			s.at = slices.Collect(s.ticket.Locations())
		case errors.Is(err, eventlog.ErrUnknownOutcome):
			s.fate = doubtful
		case errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrClosed):
			s.fate = refused
		default:
			w.fail("submit %d: %v", s.events[0].Time, err)
		}
		w.tracef("answer to %d: %s", s.events[0].Time, s.describe())
		if s.fate != acknowledged && w.random.IntN(2) == 0 {
			// The client sends it again, later.
			w.script = append(slices.Clone(s.events), w.script...)
		}
	}
}

func (s *submit) describe() string {
	switch s.fate {
	case acknowledged:
		return fmt.Sprint("stored at ", s.at[0].Sequence)
	case refused:
		return "refused"
	}
	return "doubtful"
}
