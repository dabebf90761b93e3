package httpapi

import (
	"net/http"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

type timestamp = gateway.Timestamp

type messageBody = gateway.MessageLine

// message looks the message of the path up, for a caller who may see it.
func (a *API) message(c *call) (projections.Message, error) {
	in, err := c.conversation()
	if err != nil {
		return projections.Message{}, err
	}
	return c.Find(a.cfg.State, in, c.r.PathValue("id"), &c.settings)
}

func (a *API) getMessage(c *call) error {
	m, err := a.message(c)
	if err != nil {
		return err
	}
	if m, err = a.counted(c, m); err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, gateway.NewMessageLine(&m))
	return nil
}

// withoutLeft reports whether those who have left a message's group are to be left out.
func (c *call) withoutLeft() (bool, error) {
	query := c.r.URL.Query()
	switch left := query.Get("left"); {
	case !query.Has("left"), left == "include":
		return false, nil
	case left == "exclude":
		return true, nil
	}
	return false, invalid("left", "neither include nor exclude")
}

// counted is a message with the numbers that the caller asked for and is shown.
func (a *API) counted(c *call, m projections.Message) (projections.Message, error) {
	without, err := c.withoutLeft()
	if err == nil && without {
		m, err = a.cfg.State.Remaining(m.Conversation(c.app), m.ID)
	}
	if err != nil {
		return m, err
	}
	return a.shown(c, m)
}

// listed looks the message of the path up, for a caller who may see who has read it.
func (a *API) listed(c *call) (projections.Message, error) {
	m, err := a.message(c)
	if err != nil {
		return m, err
	}
	sees, err := a.seesReads(c, &m)
	if err == nil && !sees {
		err = gateway.ErrHidesReads
	}
	return m, err
}

type readersBody struct {
	Total      int          `json:"total"`
	Readers    []readerBody `json:"readers"`
	NextCursor string       `json:"next_cursor"`
}

type readerBody = gateway.ReaderLine

// pageOfMessage is the page of a list of a message that is asked for: of everybody, or of those who
// have not left its group.
func pageOfMessage[P any](a *API, c *call, l list, everybody, remaining func(in events.Conversation, id string, from, limit int) (P, error)) (page P, err error) {
	from, limit, err := a.pageOf(c, l)
	if err != nil {
		return page, err
	}
	m, err := a.listed(c)
	if err != nil {
		return page, err
	}
	without, err := c.withoutLeft()
	if err != nil {
		return page, err
	}
	if without {
		return remaining(m.Conversation(c.app), m.ID, from, limit)
	}
	return everybody(m.Conversation(c.app), m.ID, from, limit)
}

func (a *API) getReaders(c *call) error {
	page, err := pageOfMessage(a, c, listReaders, a.cfg.State.Readers, a.cfg.State.RemainingReaders)
	if err != nil {
		return err
	}
	body := readersBody{Total: page.Total, Readers: make([]readerBody, 0, len(page.Readers)), NextCursor: a.pageCursor(listReaders, page.Next)}
	for _, r := range page.Readers {
		body.Readers = append(body.Readers, readerBody{User: r.User, ReadAt: timestamp(r.ReadAt), Content: r.Content})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

type nonReadersBody struct {
	Total      int      `json:"total"`
	Users      []string `json:"users"`
	Left       []string `json:"left,omitempty"`
	NextCursor string   `json:"next_cursor"`
}

func (a *API) getNonReaders(c *call) error {
	page, err := pageOfMessage(a, c, listNonReaders, a.cfg.State.NonReaders, a.cfg.State.RemainingNonReaders)
	if err != nil {
		return err
	}
	body := nonReadersBody{Total: page.Total, Users: page.Users, Left: page.Left, NextCursor: a.pageCursor(listNonReaders, page.Next)}
	if body.Users == nil {
		body.Users = []string{}
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}
