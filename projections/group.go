package projections

import (
	"strings"

	"github.com/receiptd/receiptd/events"
)

// groupCreated decides group.created: docs/rules.md, "group.created". The numbers are its steps.
func (p *Partition) groupCreated(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	ref := e.batch.Conv[i]
	owner := e.user(i)
	c, err := p.convOf(a, ref)
	if err != nil {
		return 0, err
	}
	x := e.attributes(i)
	if c != nil { // 1
		return c.createdAgain(owner, x), nil
	}
	c = p.newConversation(a, nameOf(e.conversation(i))) // 2
	e.convs[ref] = c
	c.creator = strings.Clone(owner)
	p.addMember(c, owner, events.RoleOwner)
	for _, u := range x.Admins {
		if _, known := c.ordinal(u); !known {
			p.addMember(c, u, events.RoleAdmin)
		}
	}
	c.admins = len(c.members) - 1
	for _, u := range x.Members {
		if _, known := c.ordinal(u); !known {
			p.addMember(c, u, events.RoleMember)
		}
	}
	c.first = len(c.members)
	return events.OutcomeApplied, nil
}

// createdAgain is step 1: what differs from how the group was created.
func (c *conversation) createdAgain(owner string, x *events.Attributes) events.Outcome {
	if c.dissolved || c.creator != owner {
		return events.RejectedGroupExists
	}
	if c.first == 0 {
		return events.OutcomeDuplicate
	}
	named := make(map[uint32]bool, len(x.Admins)+len(x.Members))
	named[0] = true // the owner
	// same names users, and reports whether those named so far are exactly the members with the
	// ordinals before end.
	same := func(users []string, end int) bool {
		for _, user := range users {
			o, known := c.ordinal(user)
			if !known || int(o) >= end {
				return false
			}
			named[o] = true
		}
		return len(named) == end
	}
	switch {
	case !same(x.Admins, 1+c.admins):
		return events.RejectedOtherAdmins
	case !same(x.Members, c.first):
		return events.RejectedOtherMembers
	}
	return events.OutcomeDuplicate
}

// groupChanged decides group.joined, group.left, group.role and group.dissolved: docs/rules.md, the
// section of that name. What is common to the four comes first.
func (p *Partition) groupChanged(a *app, i int) (events.Outcome, error) {
	e := &p.scratch
	kind := e.batch.Kinds[i]
	c, err := p.convOf(a, e.batch.Conv[i])
	if err != nil {
		return 0, err
	}
	if c == nil {
		return events.RejectedNoGroup, nil
	}
	user, role := e.user(i), events.RoleNone
	if kind == events.GroupRole {
		role = e.attributes(i).Role
	}
	switch {
	case c.hasChanged(kind, user, role):
		return events.OutcomeDuplicate, nil
	case c.dissolved:
		return events.RejectedNoGroup, nil
	}
	switch kind {
	case events.GroupJoined:
		return p.groupJoined(c, user), nil
	case events.GroupLeft:
		return p.groupLeft(c, user), nil
	case events.GroupRole:
		return p.groupRole(c, user, role), nil
	}
	c.dissolved = true
	p.changes.touchConv(c)
	return events.OutcomeApplied, nil
}

// hasChanged reports whether the group is as an event would have it.
func (c *conversation) hasChanged(kind events.Kind, user string, role events.Role) bool {
	if kind == events.GroupDissolved {
		return c.dissolved
	}
	now := events.RoleNone
	if o, known := c.ordinal(user); known {
		now = c.members[o].role
	}
	switch kind {
	case events.GroupJoined:
		return now != events.RoleNone
	case events.GroupLeft:
		return now == events.RoleNone
	}
	return now == role
}

func (p *Partition) groupJoined(c *conversation, user string) events.Outcome {
	o, known := c.ordinal(user)
	if c.active >= p.rules.limits.Members || !known && len(c.members) >= p.rules.limits.EverMembers {
		return events.RejectedGroupFull
	}
	if !known {
		p.addMember(c, user, events.RoleMember)
		return events.OutcomeApplied
	}
	m := &c.members[o]
	// A stay during which nothing was sent makes no difference and is not kept.
	if m.joined < m.left {
		m.earlier = append(m.earlier, span{joined: m.joined, left: m.left})
	}
	m.role = events.RoleMember
	m.joined, m.left = c.sent, 0
	m.watermark, m.base = c.sent, c.sent-c.silent
	if m.extra != nil {
		p.alter(c, o, func(x *memberExtra) { x.marked, x.alone, x.shown.watermark = false, nil, c.sent })
	}
	c.active++
	p.changes.touchMember(c, o)
	return events.OutcomeApplied
}

func (p *Partition) groupLeft(c *conversation, user string) events.Outcome {
	o, _ := c.ordinal(user)
	m := &c.members[o]
	m.role = events.RoleNone
	m.left = c.sent
	c.active--
	p.changes.touchMember(c, o)
	return events.OutcomeApplied
}

func (p *Partition) groupRole(c *conversation, user string, role events.Role) events.Outcome {
	o, known := c.ordinal(user)
	if !known || !c.members[o].active() {
		return events.RejectedNotMember
	}
	m := &c.members[o]
	if m.role == events.RoleOwner {
		return events.RejectedNotAllowed
	}
	if role == events.RoleOwner {
		p.groupHandedOver(c)
	}
	m.role = role
	p.changes.touchMember(c, o)
	return events.OutcomeApplied
}

// groupHandedOver makes an admin of the owner, if the group has one.
func (p *Partition) groupHandedOver(c *conversation) {
	for o := range c.members {
		if m := &c.members[o]; m.role == events.RoleOwner {
			m.role = events.RoleAdmin
			p.changes.touchMember(c, uint32(o))
		}
	}
}
