package oracle

import (
	"time"

	"github.com/receiptd/receiptd/events"
)

// Limits are the bounds of the rules. Tests make them small so that short histories reach them.
type Limits struct {
	// MaxGroupMembers bounds the members of a group, MaxEverMembers the distinct ones it ever had.
	MaxGroupMembers, MaxEverMembers int
	// MaxParked bounds the parked receipts of an app.
	MaxParked int
	// MaxSummaryItems bounds the items of an author's summary.
	MaxSummaryItems int
	// MaxRejections bounds the rejections kept for an app.
	MaxRejections int
	// MaxReadsAhead bounds the messages read alone above a member's watermark.
	MaxReadsAhead int
	// MaxEventIDs bounds the events that a partition knows by their ids.
	MaxEventIDs int
	// MaxDevices bounds the known devices of an author.
	MaxDevices int
	// MaxLabels bounds the labels of an app that are counted.
	MaxLabels int
	// MaxAlerts bounds the alerts of groups that are kept for an app, MaxAlertParts the parts of
	// those of senders and labels.
	MaxAlerts, MaxAlertParts int
	// ParkedFor is how long a receipt waits for its message; longer is too long.
	ParkedFor time.Duration
}

// DefaultLimits are the limits of package events.
func DefaultLimits() Limits {
	return Limits{
		MaxGroupMembers: events.MaxGroupMembers,
		MaxEverMembers:  events.MaxEverMembers,
		MaxParked:       events.MaxParked,
		MaxSummaryItems: events.MaxSummaryItems,
		MaxRejections:   events.MaxRejections,
		MaxReadsAhead:   events.MaxReadsAhead,
		MaxEventIDs:     events.MaxEventIDs,
		MaxDevices:      events.MaxDevices,
		MaxLabels:       events.MaxLabels,
		MaxAlerts:       events.MaxAlerts,
		MaxAlertParts:   events.MaxAlertParts,
		ParkedFor:       events.ParkedFor,
	}
}
