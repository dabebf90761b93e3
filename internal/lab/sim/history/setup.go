package history

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

func (w *world) configure(t *rapid.T, app string) {
	s := events.DefaultSettings()
	s.DeliveryReceipts = often(t, 3)
	s.GroupReceipts.Enabled = often(t, 3)
	if seldom(t, 2) {
		s.GroupReceipts.WhoMayRequest = events.WhoAdmins
	}
	s.GroupReceipts.Validity = w.validity(t)
	s.SingleReceipts.Validity = w.validity(t)
	s.GroupReceipts.MaxGroupSize = [...]int{200, 200, 0, 4, 200, 3}[pick(t, 6)]
	if often(t, 1) {
		s.GroupReceipts.AboveLimit = events.AboveLimitCounts
		s.GroupReceipts.MaxGroupSize = [...]int{2, 3, 2, 4}[pick(t, 4)]
	}
	if often(t, 1) {
		s.ReceiptTime = events.ReceiptTimeReported
		s.MaxReportAge = events.Duration([...]time.Duration{0, time.Minute, time.Hour}[pick(t, 3)])
	}
	s.GroupReceipts.MaxRequestsPerGroupPerDay = [...]int{0, 0, 2, 0, 1, 1}[pick(t, 6)]
	if seldom(t, 1) {
		s.UnreadBy = events.UnreadByMessage
	}
	if seldom(t, 2) {
		s.ReadReceipts = events.ReadReceipts(pick(t, 3))
	}
	s.Reciprocal = seldom(t, 2)
	if often(t, 1) {
		s.Alerts = w.rules(t)
	}
	revision := w.revision[app] + 1
	if seldom(t, 2) {
		revision = 1 + uint64(pick(t, 6))
	}
	if revision > w.revision[app] {
		w.revision[app], w.settings[app] = revision, s
	}
	w.add(t, events.Event{App: app, Kind: events.AppConfigured, Settings: &s, Revision: revision})
}

// rules are alert rules of every kind, some of which nearly every hour breaks.
func (w *world) rules(t *rapid.T) (rules []events.AlertRule) {
	for i := range 1 + pick(t, 3) {
		r := events.AlertRule{
			Name: fmt.Sprint("r", (i+pick(t, 2))%4), By: events.AlertBy(pick(t, 3)),
			After: events.Duration(time.Hour) * events.Duration([...]int{1, 2, 24, 168}[pick(t, 4)]),
		}
		if slices.ContainsFunc(rules, func(o events.AlertRule) bool { return o.Name == r.Name }) {
			continue
		}
		switch r.By {
		case events.AlertByGroup:
			r.ID = [...]string{"", "", worldGroups[0]}[pick(t, 3)]
		case events.AlertBySender:
			r.ID = w.user(t)
		case events.AlertByLabel:
			r.ID = worldLabels[pick(t, len(worldLabels))]
		}
		if often(t, 1) {
			r.ReadBelow = [...]int{100, 50, 1, 34}[pick(t, 4)]
		} else {
			r.MedianAbove = events.Duration([...]time.Duration{100 * time.Millisecond, time.Second, time.Hour}[pick(t, 3)])
		}
		r.MinRecipients = [...]int{0, 0, 2, 3}[pick(t, 4)]
		rules = append(rules, r)
	}
	return rules
}

func (w *world) validity(t *rapid.T) events.Duration {
	return events.Duration([...]time.Duration{72 * time.Hour, time.Second, 0, time.Minute}[pick(t, 4)])
}

func (w *world) create(t *rapid.T, app, group string) {
	ev := events.Event{App: app, Kind: events.GroupCreated, Group: group, User: w.user(t)}
	for range 1 + pick(t, 4) {
		ev.Members = append(ev.Members, w.user(t))
	}
	for range pick(t, 3) {
		ev.Admins = append(ev.Admins, w.user(t))
	}
	w.add(t, ev)
	if name := conversationOf(&ev); w.members[name] == nil {
		w.groups[app] = append(w.groups[app], group)
		w.members[name] = slices.Concat([]string{ev.User}, ev.Admins, ev.Members)
	}
}

func (w *world) change(t *rapid.T, kind events.Kind, app string) {
	ev := events.Event{App: app, Kind: kind, Group: w.group(t, app)}
	name := conversationOf(&ev)
	switch kind {
	case events.GroupJoined:
		ev.User = w.user(t)
		w.members[name] = append(w.members[name], ev.User)
	case events.GroupLeft:
		ev.User = w.member(t, app, ev.Group)
		w.members[name] = slices.DeleteFunc(w.members[name], func(u string) bool { return u == ev.User })
	case events.GroupRole:
		ev.User = w.member(t, app, ev.Group)
		ev.Role = events.RoleAdmin
		if seldom(t, 1) {
			ev.Role = events.RoleMember
		}
		if seldom(t, 2) {
			ev.Role = events.RoleOwner
		}
	case events.GroupDissolved:
		w.groups[app] = slices.DeleteFunc(w.groups[app], func(g string) bool { return g == ev.Group })
	}
	w.add(t, ev)
}

// deliveryChoices are what users want of deliveries: there are few, so more are hidden.
var deliveryChoices = [...]events.Choice{events.ChoiceNone, events.ChoiceHide, events.ChoiceSend, events.ChoiceHide}

// configureUser has a user set what is told of their receipts: somebody who is written to, as a
// rule, and mostly in a conversation where they are.
func (w *world) configureUser(t *rapid.T, app string) {
	ev := events.Event{
		App: app, Kind: events.UserConfigured, User: w.user(t),
		SendReads: events.Choice(pick(t, 3)), SendDeliveries: deliveryChoices[pick(t, 4)], Revision: uint64(1 + pick(t, 12)),
	}
	if m := w.target(t, ev.Kind); m != nil && often(t, 2) {
		ev.App, ev.Group = m.App, m.Group
		w.side(t, &ev, m)
	}
	if seldom(t, 1) {
		ev.Group, ev.Peer = "", ""
	}
	w.add(t, ev)
}
