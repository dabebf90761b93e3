package easemob

import (
	"slices"
	"strings"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/accounts"
)

// getMembers lists the members. The owner has a key of its own, as the SDK wants it.
func (h *REST) getMembers(c *call) (any, error) {
	_, g, _, err := h.group(c, events.RoleMember)
	if err != nil {
		return nil, err
	}
	from, size := page(c)
	members := []any{}
	for _, m := range slice(g.Members, from, size) {
		key := "member"
		if m.Role == events.RoleOwner {
			key = "owner"
		}
		members = append(members, map[string]string{key: m.User})
	}
	answer := data(members)
	answer["count"] = len(members)
	return answer, nil
}

// postInvite adds members, by the owner, an admin, or whoever the group's profile allows. Whoever
// was removed is added again by the owner and admins only.
func (h *REST) postInvite(c *call) (any, error) {
	var body struct {
		Users []string `json:"usernames"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	// What the members are is looked at and changed by one call at a time.
	defer h.changing.lock(c.app + "/" + c.r.PathValue("group"))()
	id, g, role, err := h.group(c, events.RoleMember)
	if err != nil {
		return nil, err
	}
	p, err := h.cfg.Accounts.Group(c.ctx, c.app, id)
	if err != nil || role < events.RoleAdmin && !p.AllowInvites {
		return nil, orForbidden(err)
	}
	if len(body.Users) == 0 || len(body.Users) > maxUsersPerCall || slices.ContainsFunc(body.Users, func(user string) bool { return events.IDProblem(user) != "" }) {
		return nil, errUsersOfCall
	}
	invited := slices.DeleteFunc(slices.Clone(body.Users), func(user string) bool { return g.Role(user) != events.RoleNone })
	if len(g.Members)+len(invited) > h.mostMembers(p) {
		return nil, rejected(events.RejectedGroupFull)
	}
	if !c.Admin {
		if err := h.takeInvites(c, len(invited)); err != nil {
			return nil, err
		}
	}
	consent := h.consent(c)
	for _, user := range invited {
		switch banned, err := h.cfg.Accounts.Banned(c.ctx, c.app, id, user); {
		case err != nil:
			return nil, err
		case banned && role < events.RoleAdmin:
			return nil, errForbidden
		case banned && !consent:
			if err := h.cfg.Accounts.Unban(c.ctx, c.app, id, user); err != nil {
				return nil, err
			}
		}
	}
	if consent {
		refused, err := h.invite(c, id, invited)
		if err != nil {
			return nil, err
		}
		answer := make([]any, len(body.Users))
		for i, user := range body.Users {
			one := map[string]any{"result": true, "action": "invite", "user": user, "id": user, "groupid": id}
			if why := refused[user]; why != nil {
				one["result"], one["reason"] = false, why.description
			}
			answer[i] = one
		}
		return data(answer), nil
	}
	return h.each(c, events.Event{Kind: events.GroupJoined, Group: id}, body.Users, "add_member")
}

// takeInvites counts n users whom the caller puts into groups.
func (h *REST) takeInvites(c *call, n int) error {
	user := c.app + "/" + c.User
	if _, ok := h.invitesOfUser.Take(user, n); !ok {
		return errTooOften
	}
	if _, ok := h.invitesFor.Take(c.app, n); !ok {
		h.invitesOfUser.Give(user, n)
		return errTooOften
	}
	return nil
}

// mostMembers is how many members a group may have.
func (h *REST) mostMembers(p accounts.GroupProfile) int {
	most := h.cfg.Limits.GroupMembers
	if p.MaxUsers > 0 {
		most = min(most, p.MaxUsers)
	}
	return most
}

func orForbidden(err error) error {
	if err != nil {
		return err
	}
	return errForbidden
}

// maxUsersPerCall bounds the users of one call.
const maxUsersPerCall = 1000

var errUsersOfCall = invalid("no users, or too many, or one whose name is none")

// each appends the same event for several users, and answers for each what became of it.
func (h *REST) each(c *call, e events.Event, users []string, action string) (any, error) {
	if len(users) == 0 || len(users) > maxUsersPerCall {
		return nil, errUsersOfCall
	}
	list := make([]events.Event, len(users))
	for i, user := range users {
		list[i] = e
		list[i].User = user
	}
	outcomes, err := h.decide(c, list...)
	if err != nil {
		return nil, err
	}
	answer := make([]any, len(users))
	for i, user := range users {
		one := map[string]any{"result": !outcomes[i].Rejected(), "action": action, "user": user, "id": user, "groupid": e.Group}
		if outcomes[i].Rejected() {
			one["reason"] = outcomes[i].Reason()
		}
		answer[i] = one
	}
	return data(answer), nil
}

// postApply joins a group that is open to everybody but those who were removed from it. There is no
// way to ask anybody, so a group that wants approval admits no one this way.
func (h *REST) postApply(c *call) (any, error) {
	defer h.changing.lock(c.app + "/" + c.r.PathValue("group"))()
	id, g, _, err := h.group(c, events.RoleNone)
	if err != nil {
		return nil, err
	}
	p, err := h.cfg.Accounts.Group(c.ctx, c.app, id)
	if err == nil && !c.Admin && !p.Public && g.Role(c.User) == events.RoleNone {
		return nil, errNoGroup
	}
	if err != nil || c.Admin || !p.Public || p.Approval {
		return nil, orForbidden(err)
	}
	if banned, err := h.cfg.Accounts.Banned(c.ctx, c.app, id, c.User); err != nil || banned {
		return nil, orForbidden(err)
	}
	if len(g.Members) >= h.mostMembers(p) {
		return nil, rejected(events.RejectedGroupFull)
	}
	if err := h.must(c, events.Event{Kind: events.GroupJoined, Group: id, User: c.User}); err != nil {
		return nil, err
	}
	return data(map[string]any{"result": true, "action": "add_member", "user": c.User, "id": id}), nil
}

func (h *REST) deleteQuit(c *call) (any, error) {
	id, _, role, err := h.group(c, events.RoleMember)
	if err != nil {
		return nil, err
	}
	if role == events.RoleOwner {
		return nil, errForbidden // a group without an owner could not be dissolved
	}
	if err := h.must(c, events.Event{Kind: events.GroupLeft, Group: id, User: c.User}); err != nil {
		return nil, err
	}
	return data(map[string]any{"result": true, "action": "remove_member", "user": c.User, "groupid": id}), nil
}

// deleteMembers removes members, by names with commas between them. Only the owner, who cannot be
// removed, can remove admins.
func (h *REST) deleteMembers(c *call) (any, error) {
	id, g, role, err := h.group(c, events.RoleAdmin)
	if err != nil {
		return nil, err
	}
	users := strings.Split(c.r.PathValue("users"), ",")
	if slices.ContainsFunc(users, func(user string) bool { return g.Role(user) >= role }) {
		return nil, errForbidden
	}
	for _, user := range users {
		if g.Role(user) == events.RoleNone {
			continue
		}
		// Before they leave, so that they find no moment to come back, by themselves or by an
		// invitation that was left when they joined.
		if err := h.cfg.Accounts.DropInvitation(c.ctx, c.app, id, user); err != nil {
			return nil, err
		}
		if err := h.cfg.Accounts.Ban(c.ctx, c.app, id, user); err != nil {
			return nil, err
		}
	}
	answer, err := h.each(c, events.Event{Kind: events.GroupLeft, Group: id}, users, "remove_member")
	// The SDK has a call of its own for one.
	if list, ok := answer.(map[string]any); ok && len(users) == 1 {
		return data(list["data"].([]any)[0]), err
	}
	return answer, err
}

func (h *REST) getAdmins(c *call) (any, error) {
	_, g, _, err := h.group(c, events.RoleMember)
	if err != nil {
		return nil, err
	}
	admins := []string{}
	for _, m := range g.Members {
		if m.Role == events.RoleAdmin {
			admins = append(admins, m.User)
		}
	}
	return data(admins), nil
}

func (h *REST) postAdmin(c *call) (any, error) {
	var body struct {
		User string `json:"newadmin"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	return h.setRole(c, body.User, events.RoleAdmin, "newadmin")
}

func (h *REST) deleteAdmin(c *call) (any, error) {
	return h.setRole(c, c.r.PathValue("user"), events.RoleMember, "oldadmin")
}

func (h *REST) setRole(c *call, user string, role events.Role, key string) (any, error) {
	id, _, _, err := h.group(c, events.RoleOwner)
	if err != nil {
		return nil, err
	}
	if err := h.must(c, events.Event{Kind: events.GroupRole, Group: id, User: user, Role: role}); err != nil {
		return nil, err
	}
	return data(map[string]any{"result": "success", key: user}), nil
}
