package httpapi

import (
	"errors"
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

type membersBody struct {
	Total      int          `json:"total"`
	Members    []memberBody `json:"members"`
	NextCursor string       `json:"next_cursor"`
}

type memberBody struct {
	User string `json:"user"`
	Role string `json:"role"`
}

// getMembers lists who is in a group, for those who are. To all others it does not exist.
func (a *API) getMembers(c *call) error {
	after, limit, err := a.pageOf(c, listMembers)
	if err != nil {
		return err
	}
	group := c.r.PathValue("group")
	switch err := c.MaySeeMembers(a.cfg.State, c.app, group); {
	case errors.Is(err, gateway.ErrNotMember):
		return errNoGroup
	case err != nil:
		return err
	}
	page, err := a.cfg.State.Members(c.app, group, after, limit)
	if errors.Is(err, projections.ErrNotFound) {
		return errNoGroup
	}
	if err != nil {
		return err
	}
	body := membersBody{Total: page.Total, Members: make([]memberBody, 0, len(page.Members)), NextCursor: a.pageCursor(listMembers, page.Next)}
	for _, m := range page.Members {
		body.Members = append(body.Members, memberBody{m.User, m.Role.String()})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}
