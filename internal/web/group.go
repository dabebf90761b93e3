package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// groupView is a group: its messages, newest first, and its members.
type groupView struct {
	ID       string
	Messages []messageRow
	// Older is where the next page of messages begins, MembersAt where the list of members does.
	At, Older uint64
	Members   projections.MemberPage
	MembersAt int
}

// messageRow is a message in a list.
type messageRow struct {
	projections.Message
	Share string
	// Width is the length of the bar, from 0 to 100.
	Width float64
}

func newMessageRow(m projections.Message) messageRow {
	row := messageRow{Message: m, Share: "–"}
	if m.Eligible > 0 {
		share := ratio(uint64(m.Read), uint64(m.Eligible))
		row.Share, row.Width = percent(share), 100*share
	}
	return row
}

// A is the first of the two in a single chat, B the other one; empty in a group.
func (m *messageRow) A() string { return m.Conversation("").A }

// B is described at A.
func (m *messageRow) B() string { return m.Conversation("").B }

var errNoGroup = &problem{http.StatusNotFound, "No such group", "The app has no such group, or it was dissolved."}

func (p *Page) group(rq *request) (any, error) {
	v := &groupView{ID: rq.query.Get("group"), MembersAt: rq.offset("members"), At: rq.place("before")}
	if events.IDProblem(v.ID) != "" {
		return nil, errNoGroup
	}
	page, err := p.cfg.State.GroupMessages(rq.key, v.ID, v.At, listed)
	if errors.Is(err, projections.ErrNotFound) {
		return nil, errNoGroup
	}
	if err != nil {
		return nil, fmt.Errorf("messages of a group: %w", err)
	}
	v.Older = page.Next
	for _, m := range page.Messages {
		v.Messages = append(v.Messages, newMessageRow(m))
	}
	if v.Members, err = p.cfg.State.Members(rq.key, v.ID, v.MembersAt, listed); err != nil && !errors.Is(err, projections.ErrNotFound) {
		return nil, fmt.Errorf("members: %w", err)
	}
	return v, nil
}

// groupTable is the messages of a group, newest first.
func (p *Page) groupTable(rq *request) (t gateway.Table, err error) {
	for before, more := uint64(0), true; more && len(t.Rows) < maxLines; more = before != 0 {
		page, err := p.cfg.State.GroupMessages(rq.key, rq.query.Get("group"), before, maxLinesOnce)
		if errors.Is(err, projections.ErrNotFound) {
			return t, errNoGroup
		}
		if err != nil {
			return t, fmt.Errorf("messages of a group: %w", err)
		}
		for i := range page.Messages {
			t.AddMessage(&page.Messages[i])
		}
		before = page.Next
	}
	return t, rq.Context().Err()
}

// place reads a parameter that says where a list continues that counts in large numbers.
func (rq *request) place(name string) uint64 {
	n, err := strconv.ParseUint(rq.query.Get(name), 10, 63)
	if err != nil {
		return 0
	}
	return n
}
