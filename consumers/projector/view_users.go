package projector

import (
	"maps"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// IsMember reports whether the user is a member of the group now.
func (p *Projector) IsMember(app, group, user string) (member bool, err error) {
	err = p.in(&events.Conversation{App: app, Group: group}, func(part *projections.Partition) (err error) {
		member, err = part.IsMember(app, group, user)
		return err
	})
	return member, err
}

// WasMember reports whether the user is, or ever was, a member of the group.
func (p *Projector) WasMember(app, group, user string) (member bool, err error) {
	err = p.in(&events.Conversation{App: app, Group: group}, func(part *projections.Partition) (err error) {
		member, err = part.WasMember(app, group, user)
		return err
	})
	return member, err
}

// Members returns a page of a group's members; see [projections.Partition.Members].
func (p *Projector) Members(app, group string, after, limit int) (page projections.MemberPage, err error) {
	err = p.in(&events.Conversation{App: app, Group: group}, func(part *projections.Partition) (err error) {
		page, err = part.Members(app, group, after, limit)
		return err
	})
	return page, err
}

// Group returns a group and its members; see [projections.Partition.Group].
func (p *Projector) Group(app, group string) (g projections.Group, err error) {
	err = p.in(&events.Conversation{App: app, Group: group}, func(part *projections.Partition) (err error) {
		g, err = part.Group(app, group)
		return err
	})
	return g, err
}

// askIn runs a query on the partition of a conversation: a group, or the chat of a user with
// a peer.
func (p *Projector) askIn(app, group, user, peer string, f func(*projections.Partition) error) error {
	return p.workers[events.Partition(&events.Event{App: app, Group: group, User: user, Peer: peer}, len(p.workers))].ask(f)
}

// UnreadMessages returns a page of what is unread to a user in a conversation; see
// [projections.Partition.UnreadMessages].
func (p *Projector) UnreadMessages(app, group, peer, user string, after uint64, limit int) (page projections.UnreadPage, err error) {
	err = p.askIn(app, group, user, peer, func(part *projections.Partition) (err error) {
		page, err = part.UnreadMessages(app, group, peer, user, after, limit)
		return err
	})
	return page, err
}

// GroupMessages returns a page of a group's messages, newest first; see
// [projections.Partition.GroupMessages].
func (p *Projector) GroupMessages(app, group string, before uint64, limit int) (page projections.MessagePage, err error) {
	err = p.askIn(app, group, "", "", func(part *projections.Partition) (err error) {
		page, err = part.GroupMessages(app, group, before, limit)
		return err
	})
	return page, err
}

// Reads returns a page of what a user has read in a conversation; see
// [projections.Partition.Reads].
func (p *Projector) Reads(app, group, peer, user string, before uint64, limit int) (page projections.ReadPage, err error) {
	err = p.askIn(app, group, user, peer, func(part *projections.Partition) (err error) {
		page, err = part.Reads(app, group, peer, user, before, limit)
		return err
	})
	return page, err
}

// UserMessages returns a page of what a user has sent, read or not read in a conversation; see
// [projections.Partition.UserMessages].
func (p *Projector) UserMessages(app, group, peer, user string, q projections.RelatedQuery) (page projections.UserMessagePage, err error) {
	err = p.askIn(app, group, user, peer, func(part *projections.Partition) (err error) {
		page, err = part.UserMessages(app, group, peer, user, q)
		return err
	})
	return page, err
}

// Positions returns a page of how far a group's members have read; see
// [projections.Partition.Positions].
func (p *Projector) Positions(app, group string, after, limit int) (page projections.PositionPage, err error) {
	err = p.askIn(app, group, "", "", func(part *projections.Partition) (err error) {
		page, err = part.Positions(app, group, after, limit)
		return err
	})
	return page, err
}

// SeesNobody reports whether a user is shown nobody's reads in a conversation; see
// [projections.Partition.SeesNobody].
func (p *Projector) SeesNobody(app, group, peer, user string) (nobody bool, err error) {
	err = p.askIn(app, group, user, peer, func(part *projections.Partition) (err error) {
		nobody, err = part.SeesNobody(app, group, peer, user)
		return err
	})
	return nobody, err
}

// UserSettingsIn returns what a user has set for one conversation; see
// [projections.Partition.UserSettingsIn].
func (p *Projector) UserSettingsIn(app, group, peer, user string) (w projections.UserSettings, err error) {
	err = p.askIn(app, group, user, peer, func(part *projections.Partition) (err error) {
		w, err = part.UserSettingsIn(app, group, peer, user)
		return err
	})
	return w, err
}

// UserSettings returns what a user has set for all of their conversations, as each partition has
// it.
func (p *Projector) UserSettings(app, user string) ([]projections.UserSettings, error) {
	return Collect(ofAll(p, func(part *projections.Partition) (projections.UserSettings, error) {
		return part.UserSettings(app, user)
	}))
}

// Knows reports whether a user is, or ever was, in a conversation.
func (p *Projector) Knows(app, user string) (known bool, err error) {
	return Any(ofAll(p, func(part *projections.Partition) (bool, error) { return part.Knows(app, user) }))
}

// Conversations returns a user's conversations, groups by id before single chats by peer.
func (p *Projector) Conversations(app, user string) ([]projections.ConversationView, error) {
	return JoinConversations(ofAll(p, func(part *projections.Partition) ([]projections.ConversationView, error) {
		return part.Conversations(app, user)
	}))
}

// Summary returns an author's summary, as a device of theirs is told it, or without one as
// [projections.Partition.Summary] says, and for each partition the entry up to which it is
// complete. Those of the partitions are merged by the times of their items, each staying in
// its order.
func (p *Projector) Summary(app, user, device string) (s projections.Summary, upto []uint64, err error) {
	j := NewJoinedSummary(len(p.workers))
	for k := range p.workers {
		some, at, err := p.SummaryAt(k, app, user, device)
		if err != nil {
			return j.Summary, j.Upto, err
		}
		j.Add(k, some, at)
	}
	return j.Summary, j.Upto, nil
}

// SummaryAfter is Summary of some partitions, each without what no entry after one has changed.
func (p *Projector) SummaryAfter(app, user, device string, after map[int]uint64) (s projections.Summary, upto []uint64, err error) {
	j := NewJoinedSummary(len(p.workers))
	for _, k := range slices.Sorted(maps.Keys(after)) {
		some, at, err := p.summaryAfter(k, app, user, device, after[k])
		if err != nil {
			return j.Summary, j.Upto, err
		}
		j.Add(k, some, at)
	}
	return j.Summary, j.Upto, nil
}
