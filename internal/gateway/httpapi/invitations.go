package httpapi

import (
	"errors"
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// maxInvitations bounds a page of invitations, for each of which the state and the accounts are
// asked.
const maxInvitations = 100

type invitationsBody struct {
	Invitations []invitationBody `json:"invitations"`
	NextCursor  string           `json:"next_cursor"`
}

type invitationBody struct {
	Group     string    `json:"group"`
	GroupName string    `json:"group_name,omitempty"`
	User      string    `json:"user"`
	Inviter   string    `json:"inviter"`
	InvitedAt timestamp `json:"invited_at"`
	ExpiresAt timestamp `json:"expires_at"`
}

// getInvitations lists the invitations that wait for a user's answer.
func (a *API) getInvitations(c *call) error {
	return a.invitations(c, listInvitations, func(after string, limit int) (gateway.InvitationPage, error) {
		return a.cfg.Invitations.InvitationsOf(c.r.Context(), c.Caller, c.app, c.r.PathValue("user"), after, limit)
	})
}

// getGroupInvitations lists those into a group.
func (a *API) getGroupInvitations(c *call) error {
	return a.invitations(c, listGroupInvitations, func(after string, limit int) (gateway.InvitationPage, error) {
		return a.cfg.Invitations.InvitationsInto(c.r.Context(), c.Caller, c.app, c.r.PathValue("group"), after, limit)
	})
}

func (a *API) invitations(c *call, l list, ask func(after string, limit int) (gateway.InvitationPage, error)) error {
	limit, err := c.limitOf(maxInvitations)
	if err != nil {
		return err
	}
	after, err := a.placeIn(c, l)
	if err != nil {
		return err
	}
	page, err := ask(after, limit)
	if err != nil {
		return noInvitation(err)
	}
	body := invitationsBody{Invitations: make([]invitationBody, 0, len(page.Invitations))}
	for _, x := range page.Invitations {
		body.Invitations = append(body.Invitations, invitationBody{
			Group: x.Group, GroupName: x.GroupName, User: x.User, Inviter: x.Inviter,
			InvitedAt: timestamp(x.At.UnixMilli()), ExpiresAt: timestamp(x.Expires.UnixMilli()),
		})
	}
	if page.Next != "" {
		body.NextCursor = a.placeCursor(l, page.Next)
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

// postInvitation answers an invitation.
func (a *API) postInvitation(c *call) error {
	var body struct {
		Accept *bool `json:"accept"`
	}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	if body.Accept == nil {
		return invalid("accept", "missing")
	}
	err := a.cfg.Invitations.AnswerInvitation(c.r.Context(), c.Caller, c.app, c.r.PathValue("group"), c.r.PathValue("user"), *body.Accept)
	if err != nil {
		return noInvitation(err)
	}
	gateway.WriteJSON(c.w, http.StatusOK, struct{}{})
	return nil
}

// deleteInvitation withdraws an invitation.
func (a *API) deleteInvitation(c *call) error {
	err := a.cfg.Invitations.WithdrawInvitation(c.r.Context(), c.Caller, c.app, c.r.PathValue("group"), c.r.PathValue("user"))
	if err != nil {
		return noInvitation(err)
	}
	gateway.WriteJSON(c.w, http.StatusOK, struct{}{})
	return nil
}

// noInvitation says why there are no invitations to see or to change. Whoever is not in a group
// does not learn that there is one.
func noInvitation(err error) error {
	for _, known := range []struct {
		err    error
		answer *apiError
	}{
		{gateway.ErrNotInvited, errNotInvited}, {gateway.ErrGroupFull, errGroupFull}, {gateway.ErrTooOften, errTooOften},
		{projections.ErrNotFound, errNoGroup}, {gateway.ErrNotMember, errNoGroup}, {gateway.ErrDenied, errForbidden},
	} {
		if errors.Is(err, known.err) {
			return known.answer.because(err)
		}
	}
	return err
}
