package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

type timestamp = gateway.Timestamp

type messageBody struct {
	ID               string    `json:"id"`
	From             string    `json:"from"`
	Group            string    `json:"group,omitempty"`
	To               string    `json:"to,omitempty"`
	SentAt           timestamp `json:"sent_at"`
	ReceiptRequested bool      `json:"receipt_requested"`
	Recalled         bool      `json:"recalled"`
	Eligible         int       `json:"eligible"`
	Delivered        int       `json:"delivered"`
	Read             int       `json:"read"`
	FirstReadAt      timestamp `json:"first_read_at"`
	LastReadAt       timestamp `json:"last_read_at"`
}

// visibility decides which messages the caller may see. It remembers the caller's memberships for
// one request.
type visibility struct {
	a       *API
	c       *call
	members map[string]bool
}

// check returns nil for a message that the caller may see. Another one is answered as if it did not
// exist, so that nobody learns what does.
func (v *visibility) check(m *projections.Message) error {
	err := v.c.MaySee(m, &v.c.settings, v.isMember)
	if errors.Is(err, gateway.ErrDenied) || errors.Is(err, gateway.ErrNotMember) {
		return projections.ErrNotFound
	}
	return err
}

func (v *visibility) isMember(group string) (bool, error) {
	if member, known := v.members[group]; known {
		return member, nil
	}
	member, err := v.a.cfg.State.IsMember(v.c.app, group, v.c.User)
	if err != nil {
		return false, fmt.Errorf("membership: %w", err)
	}
	if v.members == nil {
		v.members = make(map[string]bool)
	}
	v.members[group] = member
	return member, nil
}

// message looks the message of the path up, for a caller who may see it.
func (a *API) message(c *call) (projections.Message, error) {
	m, err := a.cfg.State.Message(c.app, c.r.PathValue("id"))
	if err != nil {
		return m, err
	}
	return m, (&visibility{a: a, c: c}).check(&m)
}

func (a *API) getMessage(c *call) error {
	m, err := a.message(c)
	if err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, messageBody{
		ID: m.ID, From: m.From, Group: m.Group, To: m.To,
		SentAt: timestamp(m.SentAt), ReceiptRequested: m.ReceiptRequested, Recalled: m.Recalled,
		Eligible: m.Eligible, Delivered: m.Delivered, Read: m.Read,
		FirstReadAt: timestamp(m.FirstReadAt), LastReadAt: timestamp(m.LastReadAt),
	})
	return nil
}

type readersBody struct {
	Total      int          `json:"total"`
	Readers    []readerBody `json:"readers"`
	NextCursor string       `json:"next_cursor"`
}

type readerBody struct {
	User    string    `json:"user"`
	ReadAt  timestamp `json:"read_at"`
	Content string    `json:"content,omitempty"`
}

func (a *API) getReaders(c *call) error {
	offset, limit, err := a.pageOf(c, listReaders)
	if err != nil {
		return err
	}
	if err := a.mayList(c); err != nil {
		return err
	}
	page, err := a.cfg.State.Readers(c.app, c.r.PathValue("id"), offset, limit)
	if err != nil {
		return err
	}
	body := readersBody{Total: page.Total, Readers: make([]readerBody, 0, len(page.Readers)), NextCursor: a.pageCursor(listReaders, page.Next)}
	for _, r := range page.Readers {
		body.Readers = append(body.Readers, readerBody{r.User, timestamp(r.ReadAt), r.Content})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

type nonReadersBody struct {
	Total      int      `json:"total"`
	Users      []string `json:"users"`
	NextCursor string   `json:"next_cursor"`
}

func (a *API) getNonReaders(c *call) error {
	after, limit, err := a.pageOf(c, listNonReaders)
	if err != nil {
		return err
	}
	if err := a.mayList(c); err != nil {
		return err
	}
	page, err := a.cfg.State.NonReaders(c.app, c.r.PathValue("id"), after, limit)
	if err != nil {
		return err
	}
	body := nonReadersBody{Total: page.Total, Users: page.Users, NextCursor: a.pageCursor(listNonReaders, page.Next)}
	if body.Users == nil {
		body.Users = []string{}
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

// mayList checks that the caller may see the message of the path; the admin key needs no lookup for
// that.
func (a *API) mayList(c *call) error {
	if c.Admin {
		return nil
	}
	_, err := a.message(c)
	return err
}

const (
	maxCountIDs = 1000
	// maxCountBytes has room for as many of the longest ids, every byte escaped.
	maxCountBytes = 1 << 20
)

type countsBody struct {
	Eligible  int `json:"eligible"`
	Delivered int `json:"delivered"`
	Read      int `json:"read"`
}

// postCounts answers for many messages at once. Ids that the app does not have, or that the caller
// may not see, are left out.
func (a *API) postCounts(c *call) error {
	var body struct {
		IDs []string `json:"ids"`
	}
	if err := c.readJSON(maxCountBytes, &body); err != nil {
		return err
	}
	if body.IDs == nil {
		return invalid("ids", "missing")
	}
	if len(body.IDs) > maxCountIDs {
		return invalid("ids", fmt.Sprintf("%d ids, at most %d", len(body.IDs), maxCountIDs))
	}
	for i, id := range body.IDs {
		if problem := events.IDProblem(id); problem != "" {
			return invalid("ids["+strconv.Itoa(i)+"]", problem)
		}
	}
	ids, err := a.seen(c, body.IDs)
	if err != nil {
		return err
	}
	counts, err := a.cfg.State.Counts(c.app, ids)
	if err != nil {
		return err
	}
	answer := make(map[string]countsBody, len(counts))
	for id, n := range counts {
		answer[id] = countsBody{n.Eligible, n.Delivered, n.Read}
	}
	gateway.WriteJSON(c.w, http.StatusOK, map[string]any{"counts": answer})
	return nil
}

// seen are those of the messages that the caller may see.
func (a *API) seen(c *call, ids []string) (list []string, err error) {
	if c.Admin {
		return ids, nil
	}
	v := &visibility{a: a, c: c}
	for _, id := range ids {
		m, err := a.cfg.State.Message(c.app, id)
		if err == nil {
			err = v.check(&m)
		}
		switch {
		case err == nil:
			list = append(list, id)
		case !errors.Is(err, projections.ErrNotFound):
			return nil, err
		}
	}
	return list, nil
}
