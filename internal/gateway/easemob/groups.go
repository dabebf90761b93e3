package easemob

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/projections"
)

// maxProfileText bounds the texts of a group's profile, together.
const maxProfileText = 3 << 10

// postGroup makes a group. Its members are in it at once, without being asked.
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
	if !c.Admin {
		if err := h.takeInvites(c, len(body.Members)); err != nil {
			return nil, err
		}
	}
	if err := h.cfg.Accounts.ClaimGroup(c.ctx, c.app, c.User, group); err != nil {
		return nil, err
	}
	members := body.Members
	if h.consent(c) {
		members = nil
	}
	err := h.must(c, events.Event{Kind: events.GroupCreated, Group: group, User: owner, Members: members})
	if err != nil {
		if _, no := errors.AsType[*restError](err); no { // for certain: it does not count
			err = errors.Join(err, h.cfg.Accounts.DropGroup(c.ctx, c.app, owner, group))
		}
		return nil, err
	}
	// After the group: a crash in between leaves a group without a name, which nobody can join
	// without being added.
	if err := h.cfg.Accounts.PutGroup(c.ctx, c.app, group, profile); err != nil {
		return nil, err
	}
	if h.consent(c) {
		if err := h.mark(c, group, body.Members, accounts.MarkInvited); err != nil {
			return nil, err
		}
	}
	return data(map[string]any{"groupid": group}), nil
}

// mostMembers is how many members a group may have.
func (h *REST) mostMembers(p accounts.GroupProfile) int {
	most := h.cfg.Limits.GroupMembers
	if p.MaxUsers > 0 {
		most = min(most, p.MaxUsers)
	}
	return most
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

func data(v any) map[string]any { return map[string]any{"data": v} }

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

// page reads pagenum, which begins with 1, and pagesize. Malformed values count as missing.
func page(c *call) (from, size int) {
	query := c.r.URL.Query()
	number, _ := strconv.Atoi(query.Get("pagenum"))
	size, err := strconv.Atoi(query.Get("pagesize"))
	if err != nil || size < 1 || size > maxPage {
		size = maxPage
	}
	return (min(max(number, 1), maxPages) - 1) * size, size
}

const (
	maxPage  = 1000
	maxPages = 1 << 20
)

func slice[T any](list []T, from, size int) []T {
	from = min(from, len(list))
	return list[from:min(from+size, len(list))]
}

// postInvite adds members, by the owner, an admin, or whoever the group's profile allows. Who was
// removed is added again by the owner and admins only.
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
	invited := slices.DeleteFunc(slices.Clone(body.Users), func(user string) bool { return g.Role(user) != events.RoleNone })
	if len(g.Members)+len(invited) > h.mostMembers(p) {
		return nil, rejected(events.RejectedGroupFull)
	}
	if !c.Admin {
		if err := h.takeInvites(c, len(invited)); err != nil {
			return nil, err
		}
	}
	for _, user := range invited {
		switch mark, err := h.cfg.Accounts.Mark(c.ctx, c.app, id, user); {
		case err != nil:
			return nil, err
		case mark == accounts.MarkRemoved && role < events.RoleAdmin:
			return nil, errForbidden
		case mark != "" && !h.consent(c):
			if err := h.cfg.Accounts.DropMark(c.ctx, c.app, id, user); err != nil {
				return nil, err
			}
		}
	}
	if h.consent(c) {
		if err := h.mark(c, id, invited, accounts.MarkInvited); err != nil {
			return nil, err
		}
		answer := make([]any, len(body.Users))
		for i, user := range body.Users {
			answer[i] = map[string]any{"result": true, "action": "invite", "user": user, "id": user, "groupid": id}
		}
		return data(answer), nil
	}
	return h.each(c, events.Event{Kind: events.GroupJoined, Group: id}, body.Users, "add_member")
}

// consent reports whether those whom the caller puts into a group have to agree. The backend may do
// without.
func (h *REST) consent(c *call) bool {
	return !c.Admin && c.settings.Invitations == events.InvitationsConsent
}

// mark keeps a mark of users who are not in a group, or not for long.
func (h *REST) mark(c *call, group string, users []string, m accounts.Mark) error {
	for _, user := range users {
		if events.IDProblem(user) != "" || len(users) > maxUsersPerCall {
			return invalid("no users, or too many")
		}
		if err := h.cfg.Accounts.PutMark(c.ctx, c.app, group, user, m); err != nil {
			return err
		}
	}
	return nil
}

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
	defer h.changing.lock(c.app + "/" + c.r.PathValue("group"))()
	id, g, role, err := h.group(c, events.RoleNone)
	if err != nil {
		return nil, err
	}
	mark, err := h.cfg.Accounts.Mark(c.ctx, c.app, id, c.User)
	if err != nil {
		return nil, err
	}
	if mark != accounts.MarkInvited {
		return nil, errNoGroup
	}
	p, err := h.cfg.Accounts.Group(c.ctx, c.app, id)
	if err != nil {
		return nil, err
	}
	if body.Agrees && role == events.RoleNone {
		if len(g.Members) >= h.mostMembers(p) {
			return nil, rejected(events.RejectedGroupFull)
		}
		if err := h.must(c, events.Event{Kind: events.GroupJoined, Group: id, User: c.User}); err != nil {
			return nil, err
		}
	}
	if err := h.cfg.Accounts.DropMark(c.ctx, c.app, id, c.User); err != nil {
		return nil, err
	}
	return data(map[string]any{"result": true, "action": "invite_verify", "user": c.User, "groupid": id}), nil
}

func orForbidden(err error) error {
	if err != nil {
		return err
	}
	return errForbidden
}

// maxUsersPerCall bounds the users of one call.
const maxUsersPerCall = 1000

// each appends the same event for several users, and answers for each what became of it.
func (h *REST) each(c *call, e events.Event, users []string, action string) (any, error) {
	if len(users) == 0 || len(users) > maxUsersPerCall {
		return nil, invalid("no users, or too many")
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
	if mark, err := h.cfg.Accounts.Mark(c.ctx, c.app, id, c.User); err != nil || mark == accounts.MarkRemoved {
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
		// Before they leave, so that they find no moment to come back.
		if err := h.cfg.Accounts.PutMark(c.ctx, c.app, id, user, accounts.MarkRemoved); err != nil {
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
