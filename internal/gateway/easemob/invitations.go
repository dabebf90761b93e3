package easemob

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// invitedAtOnce bounds the invitations of one call that are stored at the same time.
const invitedAtOnce = 8

// consent reports whether those whom the caller puts into a group have to agree. The backend may do
// without.
func (h *REST) consent(c *call) bool {
	return !c.Admin && c.settings.Invitations == events.InvitationsConsent
}

// invite keeps invitations by the caller, and returns why it could not for users who have too many;
// any other limit is an error. What was stored until then stays, and a repeat does not double it.
func (h *REST) invite(c *call, group string, users []string) (refused map[string]*restError, err error) {
	if len(users) > maxUsersPerCall {
		return nil, errUsersOfCall
	}
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	refused = make(map[string]*restError)
	var mu sync.Mutex
	storing, ctx := errgroup.WithContext(c.ctx)
	storing.SetLimit(invitedAtOnce)
	for _, user := range users {
		storing.Go(func() error {
			err := h.cfg.Accounts.Invite(ctx, c.app, accounts.Invitation{Group: group, User: user, Inviter: c.User}, wait(&c.settings))
			switch {
			case errors.Is(err, accounts.ErrInviteeInvitations):
				mu.Lock()
				defer mu.Unlock()
				refused[user] = errInviteeInvitations
				return nil
			case errors.Is(err, accounts.ErrGroupInvitations):
				return errGroupInvitations
			case errors.Is(err, accounts.ErrInviterInvitations):
				return errInviterInvitations
			case errors.Is(err, accounts.ErrAppInvitations):
				return errAppInvitations
			}
			return err
		})
	}
	return refused, storing.Wait()
}

func wait(s *events.Settings) time.Duration { return time.Duration(s.InvitationsWait()) }

// postInviteVerify is the answer of somebody who was invited. To those who were not it is as if
// there were no such group.
func (h *REST) postInviteVerify(c *call) (any, error) {
	var body struct {
		Invitee string `json:"invitee"`
		Agrees  bool   `json:"verifyResult"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if !c.Is(body.Invitee) {
		return nil, errForbidden
	}
	id := c.r.PathValue("group")
	if err := h.answer(c.ctx, c.app, id, c.User, body.Agrees); err != nil {
		return nil, err
	}
	return data(map[string]any{"result": true, "action": "invite_verify", "user": c.User, "groupid": id}), nil
}

// AnswerInvitation has a user who was invited into a group join it, if they agree, and forgets the
// invitation. It is for whoever may act for the user. The errors are [gateway.ErrTooOften],
// [gateway.ErrNotInvited], [gateway.ErrGroupFull], and those of the log, the state and the
// accounts; the invitation waits on then.
func (h *REST) AnswerInvitation(ctx context.Context, caller gateway.Caller, app, group, user string, agrees bool) error {
	if err := h.rationUser(caller, app); err != nil {
		return err
	}
	return h.answer(ctx, app, group, user, agrees)
}

func (h *REST) answer(ctx context.Context, app, group, user string, agrees bool) error {
	defer h.changing.lock(app + "/" + group)()
	if _, err := h.waiting(ctx, app, group, user); err != nil {
		return err
	}
	g, err := h.cfg.State.Group(app, group)
	if errors.Is(err, projections.ErrNotFound) {
		return gateway.ErrNotInvited
	}
	if err != nil {
		return err
	}
	// They are in it already if an earlier answer was cut off, or the backend put them there.
	if agrees && g.Role(user) == events.RoleNone {
		p, err := h.cfg.Accounts.Group(ctx, app, group)
		if err != nil {
			return err
		}
		if len(g.Members) >= h.mostMembers(p) {
			return gateway.ErrGroupFull
		}
		outcomes, err := h.decide(&call{ctx: ctx, app: app}, events.Event{Kind: events.GroupJoined, Group: group, User: user})
		switch {
		case err != nil:
			return err
		case outcomes[0].First() == events.RejectedGroupFull:
			return gateway.ErrGroupFull
		case outcomes[0].Rejected():
			return gateway.ErrNotInvited // it was dissolved just now
		}
	}
	if agrees {
		if err := h.cfg.Accounts.Unban(ctx, app, group, user); err != nil {
			return err
		}
	}
	return h.cfg.Accounts.DropInvitation(ctx, app, group, user)
}

// waiting returns the invitation of a user into a group. The error is [gateway.ErrNotInvited] if
// there is none.
func (h *REST) waiting(ctx context.Context, app, group, user string) (accounts.Invitation, error) {
	s, _, err := h.cfg.State.FindApp(app)
	if err != nil {
		return accounts.Invitation{}, err
	}
	x, err := h.cfg.Accounts.Invitation(ctx, app, group, user, wait(&s))
	if errors.Is(err, accounts.ErrNotInvited) {
		err = gateway.ErrNotInvited
	}
	return x, err
}

// rationUser counts a call of a user, as [REST.ration] does for those of the SDK.
func (h *REST) rationUser(caller gateway.Caller, app string) error {
	if caller.Admin {
		return nil
	}
	if _, ok := h.perUser.Take(app+"/"+caller.User, 1); !ok {
		return gateway.ErrTooOften
	}
	return nil
}

// InvitationsOf are those that wait for a user's answer, in the order of the groups' ids: a page
// that begins after one. It is for whoever may act for the user; the errors are
// [gateway.ErrTooOften] and those of the state and the accounts.
func (h *REST) InvitationsOf(
	ctx context.Context, caller gateway.Caller, app, user, after string, limit int,
) (page gateway.InvitationPage, err error) {
	if err := h.rationUser(caller, app); err != nil {
		return page, err
	}
	s, _, err := h.cfg.State.FindApp(app)
	if err != nil {
		return page, err
	}
	list, next, err := h.cfg.Accounts.InvitationsOf(ctx, app, user, after, limit, wait(&s))
	if err != nil {
		return page, err
	}
	page.Next = next
	for _, x := range list {
		// Without its group, or of a member, an invitation is what is left of something that was
		// cut off.
		if is, err := h.cfg.State.IsMember(app, x.Group, user); err != nil {
			return page, err
		} else if is {
			continue
		}
		switch _, err := h.cfg.State.Members(app, x.Group, 0, 1); {
		case errors.Is(err, projections.ErrNotFound):
			continue
		case err != nil:
			return page, err
		}
		p, err := h.cfg.Accounts.Group(ctx, app, x.Group)
		if err != nil {
			return page, err
		}
		page.Invitations = append(page.Invitations, invitation(x, p.Name, wait(&s)))
	}
	return page, nil
}

func invitation(x accounts.Invitation, name string, valid time.Duration) gateway.Invitation {
	return gateway.Invitation{Group: x.Group, User: x.User, Inviter: x.Inviter, GroupName: name, At: x.At, Expires: x.At.Add(valid)}
}

// InvitationsInto are those into a group that wait, in the order of the users: a page that begins
// after one. It is for the owner and admins of the group; the errors for others are those of
// [gateway.Caller.MayActIn], and [projections.ErrNotFound] where there is no such group; or
// [gateway.ErrTooOften].
func (h *REST) InvitationsInto(
	ctx context.Context, caller gateway.Caller, app, group, after string, limit int,
) (page gateway.InvitationPage, err error) {
	if err := h.mayInvite(caller, app, group); err != nil {
		return page, err
	}
	p, err := h.cfg.Accounts.Group(ctx, app, group)
	if err != nil {
		return page, err
	}
	s, _, err := h.cfg.State.FindApp(app)
	if err != nil {
		return page, err
	}
	list, next, err := h.cfg.Accounts.InvitationsInto(ctx, app, group, after, limit, wait(&s))
	if err != nil {
		return page, err
	}
	page.Next = next
	for _, x := range list {
		if is, err := h.cfg.State.IsMember(app, group, x.User); err != nil {
			return page, err
		} else if !is {
			page.Invitations = append(page.Invitations, invitation(x, p.Name, wait(&s)))
		}
	}
	return page, nil
}

// WithdrawInvitation forgets the invitation of a user into a group. It is for those for whom
// [REST.InvitationsInto] is; the error is [gateway.ErrNotInvited] if none waits.
func (h *REST) WithdrawInvitation(ctx context.Context, caller gateway.Caller, app, group, user string) error {
	if err := h.mayInvite(caller, app, group); err != nil {
		return err
	}
	defer h.changing.lock(app + "/" + group)()
	if _, err := h.waiting(ctx, app, group, user); err != nil {
		return err
	}
	return h.cfg.Accounts.DropInvitation(ctx, app, group, user)
}

func (h *REST) mayInvite(caller gateway.Caller, app, group string) error {
	if err := h.rationUser(caller, app); err != nil {
		return err
	}
	g, err := h.cfg.State.Group(app, group)
	if err == nil {
		_, err = caller.MayActIn(&g, events.RoleAdmin)
	}
	return err
}
