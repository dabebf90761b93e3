package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// timestamp is Unix milliseconds, written as RFC 3339; 0 is null.
type timestamp int64

// MarshalJSON writes the public form of a time.
func (t timestamp) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	return append(events.AppendTime([]byte{'"'}, int64(t)), '"'), nil
}

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

// visibility decides which messages a caller may see: all for the admin key; for a user his own, and those of
// groups he is in where the app shows receipts to members. It remembers memberships for one request.
type visibility struct {
	g       *Gateway
	c       *call
	members map[string]bool
}

func (v *visibility) check(m *projections.Message) error {
	if v.c.admin || m.From == v.c.user {
		return nil
	}
	if m.Group == "" || v.c.settings.GroupReceipts.Visibility != events.VisibleMembers {
		return errForbidden
	}
	member, known := v.members[m.Group]
	if !known {
		var err error
		if member, err = v.g.cfg.State.IsMember(v.c.app, m.Group, v.c.user); err != nil {
			return fmt.Errorf("membership: %w", err)
		}
		if v.members == nil {
			v.members = make(map[string]bool)
		}
		v.members[m.Group] = member
	}
	if !member {
		return errForbidden
	}
	return nil
}

// message looks the message of the path up, for a caller who may see it.
func (g *Gateway) message(c *call) (projections.Message, error) {
	m, err := g.cfg.State.Message(c.app, c.r.PathValue("id"))
	if err != nil {
		return m, err
	}
	return m, (&visibility{g: g, c: c}).check(&m)
}

func (g *Gateway) getMessage(c *call) error {
	m, err := g.message(c)
	if err != nil {
		return err
	}
	writeJSON(c.w, http.StatusOK, messageBody{
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

func (g *Gateway) getReaders(c *call) error {
	offset, limit, err := c.page(listReaders)
	if err != nil {
		return err
	}
	if err := g.mayList(c); err != nil {
		return err
	}
	page, err := g.cfg.State.Readers(c.app, c.r.PathValue("id"), offset, limit)
	if err != nil {
		return err
	}
	body := readersBody{Total: page.Total, Readers: make([]readerBody, 0, len(page.Readers)), NextCursor: pageCursor(listReaders, page.Next)}
	for _, r := range page.Readers {
		body.Readers = append(body.Readers, readerBody{r.User, timestamp(r.ReadAt), r.Content})
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

type nonReadersBody struct {
	Total      int      `json:"total"`
	Users      []string `json:"users"`
	NextCursor string   `json:"next_cursor"`
}

func (g *Gateway) getNonReaders(c *call) error {
	after, limit, err := c.page(listNonReaders)
	if err != nil {
		return err
	}
	if err := g.mayList(c); err != nil {
		return err
	}
	page, err := g.cfg.State.NonReaders(c.app, c.r.PathValue("id"), after, limit)
	if err != nil {
		return err
	}
	body := nonReadersBody{Total: page.Total, Users: page.Users, NextCursor: pageCursor(listNonReaders, page.Next)}
	if body.Users == nil {
		body.Users = []string{}
	}
	writeJSON(c.w, http.StatusOK, body)
	return nil
}

// mayList checks that the caller may see the message of the path; the admin key needs no lookup for that.
func (g *Gateway) mayList(c *call) error {
	if c.admin {
		return nil
	}
	_, err := g.message(c)
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

// postCounts answers for many messages at once. Ids that the app does not have are left out; one that the caller may
// not see refuses the request.
func (g *Gateway) postCounts(c *call) error {
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
	if err := g.maySeeAll(c, body.IDs); err != nil {
		return err
	}
	counts, err := g.cfg.State.Counts(c.app, body.IDs)
	if err != nil {
		return err
	}
	answer := make(map[string]countsBody, len(counts))
	for id, n := range counts {
		answer[id] = countsBody{n.Eligible, n.Delivered, n.Read}
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"counts": answer})
	return nil
}

func (g *Gateway) maySeeAll(c *call, ids []string) error {
	if c.admin {
		return nil
	}
	v := &visibility{g: g, c: c}
	for _, id := range ids {
		m, err := g.cfg.State.Message(c.app, id)
		if errors.Is(err, projections.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := v.check(&m); err != nil {
			return err
		}
	}
	return nil
}
