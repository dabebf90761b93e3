package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// log.repartitioned
func (m *Model) repartitioned(ev events.Event) events.Outcome {
	if m.level < 2 || ev.Revision <= m.of || ev.Revision > events.MaxPartitions {
		return events.OutcomeDuplicate
	}
	m.of, m.halved = ev.Revision, true
	return events.OutcomeApplied
}

// halve takes out what belongs to the other partition, after the entry.
func (m *Model) halve() {
	stays := func(c events.Conversation) bool {
		return uint64(c.Partition(int(m.of))) == uint64(m.partition)%m.of
	}
	old := uint64(m.partition)%m.of < m.of/2 // not the partition that is new
	for app, a := range m.apps {
		for name := range a.conversations {
			if !stays(name) {
				delete(a.conversations, name)
			}
		}
		a.parked = slices.DeleteFunc(a.parked, func(x parked) bool { return !stays(conversationOf(x.event)) })
		a.rejections = slices.DeleteFunc(a.rejections, func(x projections.Rejection) bool {
			c := conversationOf(events.Event{App: app, Group: x.Group, User: x.User, Peer: x.Peer})
			if c.Group == "" && c.A == "" {
				return !old
			}
			return !stays(c)
		})
		a.alerts = slices.DeleteFunc(a.alerts, func(x projections.Alert) bool {
			return !stays(events.Conversation{App: app, Group: x.Key})
		})
		if !old {
			a.alertParts, a.partsDropped = nil, false
		}
		for _, s := range a.summaries {
			s.items = slices.DeleteFunc(s.items, func(x *item) bool {
				if x.message != nil {
					return !stays(x.message.conversation.name)
				}
				return !stays(x.chat.name)
			})
			if old {
				continue
			}
			for _, w := range append(s.devices, &s.author) {
				w.dropped, w.lastDropped = 0, 0
			}
		}
	}
	if !old {
		m.poisoned = nil
	}
}
