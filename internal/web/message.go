package web

import (
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// messageView is one message: who has read it, and who has not.
type messageView struct {
	// ID is what was asked for.
	ID string
	// Refused says what is wrong with the id.
	Refused string
	// Several are the conversations that have a message with the id, More that there are others.
	Several []events.Conversation
	More    bool
	Found   bool
	Message projections.Message
	Share   string
	// Width is the length of the bar, from 0 to 100.
	Width      float64
	Readers    projections.ReaderPage
	Took       []string // of each reader
	First      int      // the rank of the first reader on this page
	NonReaders projections.NonReaderPage
	Left       map[string]bool // those of them who have left the group
	// Nameless says that there are no lists: the readers are counted only.
	Nameless bool
	// ReadersAt and NonReadersAt are where the lists begin.
	ReadersAt, NonReadersAt int
}

func (p *Page) message(rq *request) (any, error) {
	v := &messageView{ID: rq.query.Get("id"), ReadersAt: rq.offset("readers"), NonReadersAt: rq.offset("nonreaders")}
	if v.ID == "" {
		return nil, moved{"view", "find"}
	}
	if reason := events.IDProblem(v.ID); reason != "" {
		v.Refused = "This cannot be the id of a message: " + reason + "."
		return v, nil
	}
	m, several, err := p.lookUp(rq)
	switch {
	case err != nil:
		return nil, err
	case several != nil:
		v.Refused = "Several conversations have a message with this id."
		v.Several, v.More = clipped(several)
		return v, nil
	case m.ID == "":
		v.Refused = "There is no message with this id in the app."
		return v, nil
	}
	v.Message = m
	v.Found = true
	in := v.Message.Conversation(rq.key)
	share := ratio(uint64(v.Message.Read), uint64(v.Message.Eligible))
	v.Share, v.Width = percent(share), 100*share
	if v.Nameless = v.Message.CountsOnly; v.Nameless {
		return v, nil
	}
	if v.Readers, err = p.cfg.State.Readers(in, v.ID, v.ReadersAt, listed); err != nil {
		return nil, fmt.Errorf("readers: %w", err)
	}
	v.First, v.Left = v.Readers.Before+1, map[string]bool{}
	for _, r := range v.Readers.Readers {
		v.Took = append(v.Took, millis(float64(max(0, r.ReadAt-v.Message.SentAt))))
	}
	if v.NonReaders, err = p.cfg.State.NonReaders(in, v.ID, v.NonReadersAt, listed); err != nil {
		return nil, fmt.Errorf("non-readers: %w", err)
	}
	for _, user := range v.NonReaders.Left {
		v.Left[user] = true
	}
	return v, nil
}

// lookUp finds the message that a request asks for. It has no id if there is none; several are not
// nil if its id alone does not say which one it is.
func (p *Page) lookUp(rq *request) (m projections.Message, several *projections.AmbiguousError, err error) {
	in := events.Conversation{App: rq.key, Group: rq.query.Get("group")}
	if a, b := rq.query.Get("a"), rq.query.Get("b"); a != "" && b != "" && in.Group == "" {
		in = events.SingleChat(rq.key, a, b)
	}
	m, err = gateway.Caller{Admin: true}.Find(p.cfg.State, in, rq.query.Get("id"), &events.Settings{})
	several, _ = errors.AsType[*projections.AmbiguousError](err)
	if several != nil || errors.Is(err, projections.ErrNotFound) {
		return projections.Message{}, several, nil
	}
	if err != nil {
		return m, nil, fmt.Errorf("message: %w", err)
	}
	return m, nil, nil
}

// Kind says what the message is and whether it collects receipts.
func (v *messageView) Kind() string {
	switch m := &v.Message; {
	case m.Recalled:
		return "Recalled: its receipts are gone."
	case m.Group == "":
		return "Single chat."
	case !m.ReceiptRequested:
		return "It did not ask for receipts, so nobody's read counts."
	case m.CountsOnly:
		return "It asked for receipts, but the group was larger than the app allows: its readers are counted, and their names are not kept."
	case m.Eligible == 0:
		return "It asked for receipts, but the group was larger than the app allows, or had no other member."
	}
	return "Group message that asked for receipts."
}

// Rank is the place of a reader of this page among all.
func (v *messageView) Rank(i int) int { return v.First + i }
