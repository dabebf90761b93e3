package easemob

import (
	"errors"
	"strconv"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// maxReaders bounds a page of readers; it is what the SDK asks for.
const maxReaders = 500

// getReaders lists who has read a group message, for those who may see it. The SDK sends the text
// "undefined" for a key it does not have.
func (h *REST) getReaders(c *call) (any, error) {
	if !c.settings.GroupReceipts.Enabled {
		return nil, errNotOpen
	}
	id := c.r.PathValue("message")
	group := events.Conversation{App: c.app, Group: c.r.PathValue("group")}
	m, err := h.cfg.State.MessageIn(group, id, c.User)
	switch {
	case errors.Is(err, projections.ErrNotFound), err == nil && (!m.ReceiptRequested || m.Recalled):
		return nil, h.unlessMember(c, errNoMessage)
	case err != nil:
		return nil, err
	}
	if err := c.MaySee(&m, &c.settings); err != nil {
		return nil, h.unlessMember(c, err)
	}
	if sees, err := c.SeesReads(h.cfg.State, group, &c.settings); err != nil {
		return nil, err
	} else if !sees {
		return nil, gateway.ErrHidesReads
	}
	query := c.r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > maxReaders {
		limit = maxReaders
	}
	offset := 0
	if key := query.Get("key"); key != "" && key != "undefined" {
		if offset, err = strconv.Atoi(key); err != nil || offset < 0 {
			return nil, invalid("key: not one that was given for this list")
		}
	}
	p, err := h.cfg.State.Readers(group, id, offset, limit)
	if err != nil {
		return nil, err
	}
	users := make([]string, len(p.Readers))
	for i := range p.Readers {
		users[i] = p.Readers[i].User
	}
	next := ""
	if p.Next > 0 {
		next = strconv.Itoa(p.Next)
	}
	return data(map[string]any{
		"ackmid": id, "total": p.Total, "userlist": users, "is_last": p.Next == 0, "next_key": next, "timestamp": time.Now().UnixMilli(),
	}), nil
}

// unlessMember is the answer for what a member may not see or is not there. Whoever is not in the
// group of the path learns neither what is in it nor whether there is one.
func (h *REST) unlessMember(c *call, answer error) error {
	switch err := c.MaySeeMembers(h.cfg.State, c.app, c.r.PathValue("group")); {
	case errors.Is(err, gateway.ErrNotMember):
		return errForbidden
	case err != nil:
		return err
	}
	return answer
}
