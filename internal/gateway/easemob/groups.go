package easemob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/projections"
)

// maxProfileText bounds the texts of a group's profile, together.
const maxProfileText = 3 << 10

// postGroup makes a group. Its members are in it at once, without being asked, unless the app wants
// consent.
func (h *REST) postGroup(c *call) (any, error) {
	var body struct {
		Owner        string   `json:"owner"`
		Name         string   `json:"groupname"`
		Description  string   `json:"desc"`
		Custom       string   `json:"custom"`
		Members      []string `json:"members"`
		Public       bool     `json:"public"`
		Approval     bool     `json:"approval"`
		AllowInvites bool     `json:"allowinvites"`
		MaxUsers     int      `json:"maxusers"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	owner := c.User
	if c.Admin {
		owner = body.Owner
	}
	if len(body.Name)+len(body.Description)+len(body.Custom) > maxProfileText {
		return nil, invalid("name, description and custom are too long")
	}
	body.Members = slices.DeleteFunc(body.Members, func(user string) bool { return user == owner })
	profile := accounts.GroupProfile{
		Name: body.Name, Description: body.Description, Custom: body.Custom,
		Public: body.Public, Approval: body.Approval, AllowInvites: body.AllowInvites, MaxUsers: body.MaxUsers,
	}
	if 1+len(body.Members) > h.mostMembers(profile) {
		return nil, rejected(events.RejectedGroupFull)
	}
	group := strconv.FormatUint(h.cfg.IDs.Next(), 10)
	first := events.Event{App: c.app, Kind: events.GroupCreated, Group: group, User: owner, Members: body.Members}
	if bad := first.Validate(); bad != nil {
		return nil, invalid(bad.Error())
	}
	if !c.Admin {
		if err := h.takeInvites(c, len(body.Members)); err != nil {
			return nil, err
		}
	}
	if err := h.cfg.Accounts.ClaimGroup(c.ctx, c.app, c.User, group, profile); err != nil {
		return nil, err
	}
	if err := h.found(c, first); err != nil {
		if !errors.Is(err, errPerhaps) { // nothing of it stays
			err = errors.Join(err, h.cfg.Accounts.DropGroup(context.WithoutCancel(c.ctx), c.app, owner, group))
		}
		return nil, err
	}
	return data(map[string]any{"groupid": group}), nil
}

// found makes a group that was claimed. The event is last: what is stored before it nobody sees
// without it, so that a group that is there is whole. The error wraps errPerhaps if it may
// be there.
func (h *REST) found(c *call, first events.Event) error {
	if h.consent(c) {
		invited := first.Members
		first.Members = nil
		refused, err := h.invite(c, first.Group, invited)
		if err != nil {
			return err
		}
		for user, why := range refused {
			return &restError{why.status, why.name, why.description + ": " + user, why.code}
		}
	}
	err := h.must(c, first)
	if _, decided := errors.AsType[*restError](err); err == nil || decided {
		return err
	}
	for _, sure := range []error{eventlog.ErrOverloaded, eventlog.ErrUnavailable, eventlog.ErrClosed} {
		if errors.Is(err, sure) && !errors.Is(err, eventlog.ErrUnknownOutcome) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errPerhaps, err)
}

// errPerhaps is wrapped by the error of an event that may be in the log.
var errPerhaps = errors.New("not known whether it happened")

// group returns the group of the path, for a caller whose role in it is at least the one given.
func (h *REST) group(c *call, least events.Role) (id string, g projections.Group, role events.Role, err error) {
	id = c.r.PathValue("group")
	if g, err = h.cfg.State.Group(c.app, id); err != nil {
		return id, g, role, err
	}
	role, err = c.MayActIn(&g, least)
	return id, g, role, err
}

func (h *REST) getGroup(c *call) (any, error) {
	id, g, role, err := h.group(c, events.RoleNone)
	if err != nil {
		return nil, err
	}
	p, err := h.cfg.Accounts.Group(c.ctx, c.app, id)
	if err != nil {
		return nil, err
	}
	if role == events.RoleNone && !p.Public {
		return nil, errNoGroup
	}
	return data([]any{map[string]any{
		"id": id, "name": p.Name, "description": p.Description, "custom": p.Custom, "public": p.Public, "membersonly": p.Approval,
		"allowinvites": p.AllowInvites, "maxusers": p.MaxUsers, "owner": g.Owner, "affiliations_count": len(g.Members),
	}}), nil
}

func (h *REST) deleteGroup(c *call) (any, error) {
	id, g, _, err := h.group(c, events.RoleOwner)
	if err != nil {
		return nil, err
	}
	if err := h.must(c, events.Event{Kind: events.GroupDissolved, Group: id}); err != nil {
		return nil, err
	}
	if err := h.cfg.Accounts.DropGroup(c.ctx, c.app, g.Owner, id); err != nil {
		h.cfg.Logger.Warn("sdk: the profile of a dissolved group was not removed", "error", err)
	}
	return data(map[string]any{"success": true, "groupid": id}), nil
}

// getJoinedGroups lists the caller's groups.
func (h *REST) getJoinedGroups(c *call) (any, error) {
	user := c.r.PathValue("user")
	if !c.MayActFor(user) {
		return nil, errForbidden
	}
	conversations, err := h.cfg.State.Conversations(c.app, user)
	if err != nil {
		return nil, err
	}
	conversations = slices.DeleteFunc(conversations, func(v projections.ConversationView) bool { return v.Group == "" })
	from, size := page(c)
	groups := []any{}
	for _, v := range slice(conversations, from, min(size, maxNames)) {
		p, err := h.cfg.Accounts.Group(c.ctx, c.app, v.Group)
		if err != nil {
			return nil, err
		}
		groups = append(groups, map[string]any{"id": v.Group, "name": p.Name, "groupid": v.Group, "groupname": p.Name})
	}
	answer := data(groups)
	answer["uri"], answer["entities"], answer["count"] = c.r.URL.Path, []any{}, len(groups)
	return answer, nil
}

// maxNames bounds the groups of one page, each of which is looked up.
const maxNames = 100
