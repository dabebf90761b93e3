package oracle

import "github.com/receiptd/receiptd/events"

// userSettings is what a user has set.
type userSettings struct {
	reads, deliveries events.Choice
	revision          uint64
}

// Who hides what
func (a *app) hides(c *conversation, user string) (reads, deliveries bool) {
	if a.settings.ReadReceipts == events.ReadReceiptsAlways {
		return false, false
	}
	here, everywhere := c.member(user).userSettings, a.userSettings[user]
	says := func(first, second events.Choice) bool {
		if first == events.ChoiceNone {
			first = second
		}
		return first == events.ChoiceHide
	}
	reads = says(here.reads, everywhere.reads) || a.settings.ReadReceipts == events.ReadReceiptsNever
	return reads, says(here.deliveries, everywhere.deliveries)
}

// user.configured
func (a *app) userConfigured(ev events.Event) events.Outcome {
	w := userSettings{ev.SendReads, ev.SendDeliveries, ev.Revision}
	if ev.Group == "" && ev.Peer == "" {
		if w.revision <= a.userSettings[ev.User].revision {
			return events.OutcomeDuplicate
		}
		a.userSettings[ev.User] = w
		return events.OutcomeApplied
	}
	u, refused := a.memberOf(ev)
	if u == nil {
		return refused
	}
	if w.revision <= u.userSettings.revision {
		return events.OutcomeDuplicate
	}
	u.userSettings = w
	return events.OutcomeApplied
}
