package gateway

import (
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// UserSettingsChange is a change of what a user wants to be done with their receipts; nil keeps
// what is.
type UserSettingsChange struct{ Reads, Deliveries *events.Choice }

// Of is what is set after the change, with the revision from before.
func (c UserSettingsChange) Of(w projections.UserSettings) projections.UserSettings {
	if c.Reads != nil {
		w.Reads = *c.Reads
	}
	if c.Deliveries != nil {
		w.Deliveries = *c.Deliveries
	}
	return w
}
