package oracle

import (
	"fmt"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// known is an event that has an id, and what was decided about it.
type known struct {
	name    eventName
	at      int64
	outcome events.Outcome
}

// eventName is what names an event: its id, together with these.
type eventName struct {
	conversation      events.Conversation
	kind              events.Kind
	user, message, id string
}

// Event ids and repeats
func (m *Model) decideOnce(ev events.Event, at position) events.Outcome {
	if ev.EventID == "" || ev.Kind == events.AppConfigured || m.apps[ev.App] == nil {
		return m.decide(ev, at)
	}
	name := eventName{conversationOf(ev), ev.Kind, ev.User, ev.Message, ev.EventID}
	for _, k := range slices.Backward(m.known) {
		if k.name != name {
			continue
		}
		if m.time.t-k.at <= events.EventIDsFor.Milliseconds() {
			return k.outcome.Repeat()
		}
		break // the first of them, if there are several, is known for less
	}
	outcome := m.decide(ev, at)
	m.known = append(m.known, known{name, m.time.t, outcome})
	if len(m.known) > m.limits.MaxEventIDs {
		m.known = m.known[1:]
	}
	return outcome
}

func (m *Model) decide(ev events.Event, at position) events.Outcome {
	a := m.apps[ev.App]
	switch ev.Kind {
	case events.AppConfigured:
		return m.configured(ev)
	case events.RulesLevel:
		return m.rulesLevel(ev)
	case events.LogRepartitioned:
		return m.repartitioned(ev)
	}
	if a == nil {
		return events.RejectedNoApp // and nothing is recorded
	}
	outcome := m.decideFor(a, ev, at)
	if outcome.Rejected() {
		m.reject(a, ev, at, outcome)
	}
	return outcome
}

// rules.level
func (m *Model) rulesLevel(ev events.Event) events.Outcome {
	if ev.Revision <= m.level {
		return events.OutcomeDuplicate
	}
	for m.level < ev.Revision {
		m.level++
		m.levels[m.level-2](&m.limits)
	}
	return events.OutcomeApplied
}

// decideFor decides an event of an app, by T or by the time that it states.
func (m *Model) decideFor(a *app, ev events.Event, at position) events.Outcome {
	m.moment, m.quiet = m.time.t, ev.Imported
	if !ev.Imported {
		return m.byKind(a, ev, at)
	}
	// Imported events
	if ev.Time > m.time.t {
		return events.RejectedImportAhead
	}
	name := conversationOf(ev)
	if c := a.conversations[name]; c != nil && c.imported != 0 && ev.Time < c.imported && ev.Time < m.time.t {
		return events.RejectedImportBehind
	}
	m.moment = ev.Time
	outcome := m.byKind(a, ev, at)
	if outcome == events.OutcomeApplied || outcome == events.OutcomeHidden {
		a.conversations[name].imported = ev.Time
	}
	return outcome
}

func (m *Model) byKind(a *app, ev events.Event, at position) (outcome events.Outcome) {
	switch ev.Kind {
	case events.StatisticSeen:
		outcome = m.statisticSeen(a, ev)
	case events.GroupCreated:
		outcome = a.groupCreated(ev)
	case events.GroupJoined, events.GroupLeft, events.GroupRole, events.GroupDissolved:
		outcome = m.groupChanged(a, ev)
	case events.MessageSent:
		outcome = m.messageSent(a, ev)
	case events.MessageDelivered, events.MessageRead:
		outcome = m.receipt(a, ev, at)
	case events.ConversationRead:
		outcome = m.conversationRead(a, ev, at)
	case events.MessageRecalled:
		outcome = m.messageRecalled(a, ev, at)
	case events.UserConfigured:
		outcome = a.userConfigured(ev)
	case events.ConversationMarkedUnread:
		outcome = a.markedUnread(ev)
	default:
		panic(fmt.Sprintf("oracle: event of kind %v", ev.Kind))
	}
	return outcome
}

func (m *Model) reject(a *app, ev events.Event, at position, outcome events.Outcome) {
	a.rejections = append(a.rejections, projections.Rejection{
		Partition: m.partition, Sequence: at.sequence, Index: at.index, At: m.time.t, Outcome: outcome,
		Kind: ev.Kind, Group: ev.Group, Peer: ev.Peer, User: ev.User, Message: ev.Message,
	})
	if len(a.rejections) > m.limits.MaxRejections {
		a.rejections = a.rejections[1:]
	}
}
