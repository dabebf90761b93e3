package oracle

import (
	"cmp"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Summary is the author's summary, in the order of the latest news, for authors who name no device.
func (m *Model) Summary(app, author string) []projections.SummaryItem {
	return m.SummaryFor(app, author, "")
}

// SummaryFor is the summary that a device of the author is told.
func (m *Model) SummaryFor(app, author, device string) []projections.SummaryItem {
	a := m.apps[app]
	if a == nil {
		return nil
	}
	var items []projections.SummaryItem
	s := a.summaryOf(author)
	list := slices.Clone(s.items)
	list = slices.DeleteFunc(list, func(x *item) bool { return x.lastEntry <= s.witness(device).seen })
	slices.SortStableFunc(list, func(x, y *item) int { return cmp.Compare(x.lastEntry, y.lastEntry) })
	for _, x := range list {
		if x.hiddenFrom(a, author) {
			continue
		}
		switch {
		case x.message == nil:
			items = append(items, x.chat.item(author))
		case x.message.conversation.name.Group == "":
			items = append(items, x.message.singleItem(a.seesNobody(x.message.conversation, author)))
		default:
			items = append(items, x.message.groupItem())
		}
	}
	return items
}

// hiddenFrom reports whether an item is not shown to its author, who hides their own reads.
func (x *item) hiddenFrom(a *app, author string) bool {
	c := x.chat
	if x.message != nil {
		c = x.message.conversation
	}
	return a.seesNobody(c, author) && (x.message == nil || x.message.deliveredAt == 0)
}

// seesNobody reports whether a user is shown nobody's reads in a conversation.
func (a *app) seesNobody(c *conversation, user string) bool {
	reads, _ := a.hides(c, user)
	return a.settings.Reciprocal && reads
}

// Dropped is how many items of the author's summary were pushed out and not acknowledged.
func (m *Model) Dropped(app, author string) int {
	if a := m.apps[app]; a != nil {
		return a.summaryOf(author).author.dropped
	}
	return 0
}

// DroppedFor is how many items were pushed out that a device of the author had not acknowledged.
func (m *Model) DroppedFor(app, author, device string) int {
	if a := m.apps[app]; a != nil {
		return a.summaryOf(author).witness(device).dropped
	}
	return 0
}

// Knows reports whether a device of the author is known.
func (m *Model) Knows(app, author, device string) bool {
	a := m.apps[app]
	return a != nil && a.summaryOf(author).device(device) != nil
}

// witness is the device if it is known, else the author.
func (s *summary) witness(device string) *witness {
	if d := s.device(device); d != nil {
		return d
	}
	return &s.author
}

func (c *conversation) item(author string) projections.SummaryItem {
	peer := c.peerOf(author)
	return projections.SummaryItem{
		Kind: projections.SummaryConversationRead, Peer: peer, LastReadAt: c.member(peer).shownLastReadAt,
	}
}

func (msg *message) singleItem(deliveryOnly bool) projections.SummaryItem {
	item := projections.SummaryItem{
		Kind: projections.SummaryDelivered, Message: msg.id, Peer: msg.conversation.peerOf(msg.from), DeliveredAt: msg.deliveredAt,
	}
	if len(msg.readers) > 0 && !deliveryOnly {
		item.Kind, item.LastReadAt = projections.SummaryRead, msg.readers[0].ReadAt
	}
	return item
}

func (msg *message) groupItem() projections.SummaryItem {
	readers := msg.inOrder()
	first, last := readers[0], readers[len(readers)-1]
	if msg.kind == counted {
		last.User = ""
	}
	return projections.SummaryItem{
		Kind: projections.SummaryGroupRead, Message: msg.id, Group: msg.conversation.name.Group,
		Count: len(readers), LastReader: last.User, FirstReadAt: first.ReadAt, LastReadAt: last.ReadAt,
	}
}

// SeesNobody reports whether a user is shown nobody's reads in a conversation.
func (m *Model) SeesNobody(name events.Conversation, user string) bool {
	c := m.conversation(name)
	return c != nil && c.member(user) != nil && m.apps[name.App].seesNobody(c, user)
}
