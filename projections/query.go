package projections

import (
	"github.com/receiptd/receiptd/events"
)

// group returns a group, or nil if it is unknown or dissolved.
func (p *Partition) group(appKey, group string) (*conversation, error) {
	a := p.apps.byKey[appKey]
	if a == nil {
		return nil, nil
	}
	c, err := p.conv(a, convName{group: group})
	if err != nil || c == nil || c.dissolved {
		return nil, err
	}
	return c, nil
}

// IsMember reports whether the user is a member of the group now.
func (p *Partition) IsMember(appKey, group, user string) (bool, error) {
	return query(p, func() (bool, error) {
		c, err := p.group(appKey, group)
		if c == nil || err != nil {
			return false, err
		}
		o, ok := c.ordinal(user)
		return ok && c.members[o].active(), nil
	})
}

// WasMember reports whether the user is, or ever was, a member of the group, be it dissolved.
func (p *Partition) WasMember(appKey, group, user string) (bool, error) {
	return query(p, func() (bool, error) {
		a := p.apps.byKey[appKey]
		if a == nil {
			return false, nil
		}
		c, err := p.conv(a, convName{group: group})
		if c == nil || err != nil {
			return false, err
		}
		_, ok := c.ordinal(user)
		return ok, nil
	})
}

// Members returns the current members of a group, in the order in which they first joined, from
// those with an ordinal of at least after. The error is ErrNotFound for a group that is unknown or
// dissolved.
func (p *Partition) Members(appKey, group string, after, limit int) (MemberPage, error) {
	page := MemberPage{Members: make([]GroupMember, 0, min(limit, memberStep))}
	for o, done := max(after, 0), false; !done; {
		_, err := query(p, func() (_ struct{}, err error) {
			o, done, err = p.members(appKey, group, o, limit, &page)
			return struct{}{}, err
		})
		if err != nil {
			return page, err
		}
	}
	return page, nil
}

// members adds the current ones among the next members, from ordinal o on, to a page. It returns
// the ordinal to go on with, and whether the page is complete.
func (p *Partition) members(appKey, group string, o, limit int, page *MemberPage) (next int, done bool, err error) {
	c, err := p.group(appKey, group)
	if err != nil {
		return o, true, err
	}
	if c == nil {
		return o, true, ErrNotFound
	}
	page.Total = c.active
	for end := min(len(c.members), o+memberStep); o < end; o++ {
		m := &c.members[o]
		if !m.active() {
			continue
		}
		if len(page.Members) == limit {
			page.Next = o
			return o, true, nil
		}
		page.Members = append(page.Members, GroupMember{m.user, m.role})
	}
	return o, o >= len(c.members), nil
}

// Group returns a group and its members. The error is ErrNotFound for a group that is unknown or
// dissolved.
func (p *Partition) Group(appKey, group string) (Group, error) {
	g := Group{Members: []GroupMember{}}
	for page := (MemberPage{}); ; {
		var err error
		if page, err = p.Members(appKey, group, page.Next, memberStep); err != nil {
			return Group{}, err
		}
		for i := range page.Members {
			if page.Members[i].Role == events.RoleOwner {
				g.Owner = page.Members[i].User
			}
		}
		g.Members = append(g.Members, page.Members...)
		if page.Next == 0 {
			return g, nil
		}
	}
}
