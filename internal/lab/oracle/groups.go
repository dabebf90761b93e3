package oracle

import (
	"maps"
	"slices"

	"github.com/receiptd/receiptd/events"
)

// app.configured
func (m *Model) configured(ev events.Event) events.Outcome {
	a := m.apps[ev.App]
	switch {
	case a == nil && ev.Revision > 0:
		a = &app{
			conversations: map[events.Conversation]*conversation{},
			summaries:     map[string]*summary{},
			userSettings:  map[string]userSettings{},
		}
		m.apps[ev.App] = a
	case a == nil || ev.Revision <= a.revision:
		return events.OutcomeDuplicate
	}
	a.settings, a.revision = *ev.Settings, ev.Revision
	return events.OutcomeApplied
}

// group.created
func (a *app) groupCreated(ev events.Event) events.Outcome {
	name := conversationOf(ev)
	if g := a.conversations[name]; g != nil { // 1
		if g.dissolved || g.created.User != ev.User {
			return events.RejectedGroupExists
		}
		if !maps.Equal(firstOf(ev, events.RoleAdmin), firstOf(g.created, events.RoleAdmin)) {
			return events.RejectedOtherAdmins
		}
		if !maps.Equal(firstOf(ev, events.RoleMember), firstOf(g.created, events.RoleMember)) {
			return events.RejectedOtherMembers
		}
		return events.OutcomeDuplicate
	}
	g := newConversation(name) // 2
	g.created = ev
	for _, u := range first(ev) {
		g.members = append(g.members, &member{user: u.user, role: u.role, spans: []span{{joined: 0}}})
	}
	a.conversations[name] = g
	return events.OutcomeApplied
}

// first are the members of a new group, each once.
func first(ev events.Event) (list []member) {
	add := func(user string, role events.Role) {
		if !slices.ContainsFunc(list, func(u member) bool { return u.user == user }) {
			list = append(list, member{user: user, role: role})
		}
	}
	add(ev.User, events.RoleOwner)
	for _, user := range ev.Admins {
		add(user, events.RoleAdmin)
	}
	for _, user := range ev.Members {
		add(user, events.RoleMember)
	}
	return list
}

// firstOf has the first members that have a role.
func firstOf(ev events.Event, role events.Role) map[string]bool {
	users := map[string]bool{}
	for _, u := range first(ev) {
		if u.role == role {
			users[u.user] = true
		}
	}
	return users
}

// group.joined, group.left, group.role, group.dissolved
func (m *Model) groupChanged(a *app, ev events.Event) events.Outcome {
	g := a.conversations[conversationOf(ev)]
	if g == nil {
		return events.RejectedNoGroup
	}
	u := g.member(ev.User)
	current := u != nil && u.current()
	switch {
	case ev.Kind == events.GroupJoined && current,
		ev.Kind == events.GroupLeft && !current,
		ev.Kind == events.GroupRole && current && u.role == ev.Role,
		ev.Kind == events.GroupDissolved && g.dissolved:
		return events.OutcomeDuplicate
	case g.dissolved:
		return events.RejectedNoGroup
	}
	switch ev.Kind {
	case events.GroupJoined:
		return m.joined(g, u, ev.User)
	case events.GroupLeft:
		last := &u.spans[len(u.spans)-1]
		last.left, last.ended = g.sent, true
		u.role = events.RoleNone
	case events.GroupRole:
		switch {
		case !current:
			return events.RejectedNotMember
		case u.role == events.RoleOwner:
			return events.RejectedNotAllowed
		}
		if ev.Role == events.RoleOwner {
			for _, other := range g.members {
				if other.role == events.RoleOwner {
					other.role = events.RoleAdmin
				}
			}
		}
		u.role = ev.Role
	case events.GroupDissolved:
		g.dissolved = true
	}
	return events.OutcomeApplied
}

func (m *Model) joined(g *conversation, u *member, user string) events.Outcome {
	now := 0
	for _, other := range g.members {
		if other.current() {
			now++
		}
	}
	if now >= m.limits.MaxGroupMembers || u == nil && len(g.members) >= m.limits.MaxEverMembers {
		return events.RejectedGroupFull
	}
	if u == nil {
		u = &member{user: user}
		g.members = append(g.members, u)
	}
	u.role = events.RoleMember
	u.spans = append(u.spans, span{joined: g.sent})
	u.watermark, u.shownWatermark = g.sent, g.sent
	u.alone, u.marked = nil, false
	return events.OutcomeApplied
}
