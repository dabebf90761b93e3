package projections

import (
	"time"

	"github.com/receiptd/receiptd/events"
)

// convOfUser finds a conversation that a user is in now: a group, or the chat with a peer. The
// error is ErrNotFound if there is none.
func (p *Partition) convOfUser(appKey, group, peer, user string) (*conversation, uint32, error) {
	a := p.apps.byKey[appKey]
	if a == nil {
		return nil, 0, ErrNotFound
	}
	name := convName{group: group}
	if group == "" {
		name = convName{a: min(user, peer), b: max(user, peer)}
	}
	c, err := p.conv(a, name)
	if err != nil {
		return nil, 0, err
	}
	if c == nil || c.refuses(user) != events.OutcomeApplied {
		return nil, 0, ErrNotFound
	}
	o, _ := c.ordinal(user)
	return c, o, nil
}

// UnreadMessages returns messages of a conversation that are unread to a user and whose ids are
// known, with numbers above after. The error is ErrNotFound if the user is not in such a
// conversation.
func (p *Partition) UnreadMessages(appKey, group, peer, user string, after uint64, limit int) (UnreadPage, error) {
	page := UnreadPage{Messages: []UnreadMessage{}}
	for looked := 0; ; {
		_, err := query(p, func() (_ struct{}, err error) {
			c, o, err := p.convOfUser(appKey, group, peer, user)
			if err != nil {
				return struct{}{}, err
			}
			u := &c.members[o]
			page.Unread, page.Next = int(c.unreadBy(u)), 0
			last, end := after, looked+lookStep
			return struct{}{}, p.eachUnread(c, max(after, u.watermark), func(seq uint64, x *unreadRef) bool {
				if len(page.Messages) == limit || looked == end {
					after, page.Next = last, last
					return false
				}
				if last, looked = seq, looked+1; x.id != "" && x.isUnread(seq, o, u) {
					page.Messages = append(page.Messages, UnreadMessage{ID: x.id, From: c.members[x.sender].user})
				}
				return true
			})
		})
		if err != nil || page.Next == 0 || len(page.Messages) == limit || looked >= maxLook {
			return page, err
		}
	}
}

// maxLook bounds the messages that one page of unread ones is found in, and lookStep those that are
// looked at while the fold waits.
const (
	maxLook  = 10_000
	lookStep = 500
)

// Positions returns how far the members of a group have read, from those with an ordinal of at
// least after. The error is ErrNotFound for a group that is unknown or dissolved.
func (p *Partition) Positions(appKey, group string, after, limit int) (PositionPage, error) {
	page := PositionPage{Members: []MemberPosition{}}
	for o, done := max(after, 0), false; !done; {
		_, err := query(p, func() (_ struct{}, err error) {
			o, done, err = p.positions(appKey, group, o, limit, &page)
			return struct{}{}, err
		})
		if err != nil {
			return page, err
		}
	}
	return page, nil
}

// positions adds those of the next members, from ordinal o on, to a page, for a short time. It
// returns the ordinal to go on with, and whether the page is complete.
func (p *Partition) positions(appKey, group string, o, limit int, page *PositionPage) (next int, done bool, err error) {
	c, err := p.group(appKey, group)
	if err != nil {
		return o, true, err
	}
	if c == nil {
		return o, true, ErrNotFound
	}
	page.Sent = c.sent
	for begun := time.Now(); o < len(c.members) && time.Since(begun) < holdTime; o++ {
		u := &c.members[o]
		if !u.active() {
			continue
		}
		if len(page.Members) == limit {
			page.Next = o
			return o, true, nil
		}
		x := MemberPosition{User: u.user}
		hides, _, err := p.hides(c, uint32(o))
		if err != nil {
			return o, true, err
		}
		if !hides {
			x.Watermark, x.LastReadAt = u.shown()
		}
		page.Members = append(page.Members, x)
	}
	return o, o >= len(c.members), nil
}

// UserSettings returns what a user has set for all of their conversations.
func (p *Partition) UserSettings(appKey, user string) (UserSettings, error) {
	return query(p, func() (UserSettings, error) {
		a := p.apps.byKey[appKey]
		if a == nil {
			return UserSettings{}, nil
		}
		u, err := p.configuredUser(a, user)
		if u == nil || err != nil {
			return UserSettings{}, err
		}
		return u.view(), nil
	})
}

// UserSettingsIn returns what a user has set for one conversation. The error is ErrNotFound if the
// user is not in such a conversation.
func (p *Partition) UserSettingsIn(appKey, group, peer, user string) (UserSettings, error) {
	return query(p, func() (UserSettings, error) {
		c, o, err := p.convOfUser(appKey, group, peer, user)
		if err != nil || c.members[o].extra == nil {
			return UserSettings{}, err
		}
		return c.members[o].extra.view(), nil
	})
}

func (s *userSettings) view() UserSettings { return UserSettings{s.reads, s.deliveries, s.revision} }

// SeesNobody reports whether a user is shown nobody's reads in a conversation, since they hide
// their own there. Former members are looked at too: authors see their messages.
func (p *Partition) SeesNobody(appKey, group, peer, user string) (bool, error) {
	return query(p, func() (bool, error) {
		a := p.apps.byKey[appKey]
		if a == nil || !a.settings.Reciprocal {
			return false, nil
		}
		name := convName{group: group}
		if group == "" {
			name = convName{a: min(user, peer), b: max(user, peer)}
		}
		c, err := p.conv(a, name)
		if c == nil || err != nil {
			return false, err
		}
		o, known := c.ordinal(user)
		if !known {
			return false, nil
		}
		return p.seesNobody(c, o)
	})
}
