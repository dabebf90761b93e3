package events

import "time"

// Limits on what a producer can make grow. They hold at every edge and in the folds.
const (
	// MaxIDBytes bounds every id (user, group, message), in bytes of UTF-8.
	MaxIDBytes = 128
	// MaxEventIDBytes bounds the id that a producer gives an event.
	MaxEventIDBytes = 64
	// MaxLabelBytes bounds the label of a message.
	MaxLabelBytes = 64
	// MaxLabels bounds the labels of one app that are counted in one partition. They stay for
	// good; a message with a further one is sent without it.
	MaxLabels = 4096
	// MaxContentBytes bounds the content of a read receipt.
	MaxContentBytes = 4096
	// MaxFirstMembers bounds the members and admins named by one group.created.
	MaxFirstMembers = 5000
	// MaxMessagesRead bounds the messages that one message.read names.
	MaxMessagesRead = 256
	// MaxGroupMembers bounds the members of a group.
	MaxGroupMembers = 100_000
	// MaxEverMembers bounds the users that are or ever were members of a group: each keeps an
	// ordinal for good.
	MaxEverMembers = 4 * MaxGroupMembers
	// MaxBatchEvents bounds the events of one log entry.
	MaxBatchEvents = 16384
	// MaxBatchBytes bounds the encoded size of one log entry.
	MaxBatchBytes = 1 << 20

	// ParkedFor is how long, in broker time, a receipt waits for its message.
	ParkedFor = 72 * time.Hour
	// MaxParked bounds the parked receipts of one app in one partition; the oldest gives way.
	MaxParked = 16_384
	// ClockStep is how much later, in broker time, an entry may be than the one before without
	// being remembered as a step that may have been wrong, and how much earlier without being one.
	ClockStep = time.Hour
	// ClockStart is before any entry, in Unix milliseconds: the start of 2020. What has no earlier
	// time is never taken back beyond it.
	ClockStart int64 = 1_577_836_800_000
	// MaxClockSkips bounds the steps of the clock that are remembered; the oldest is forgotten.
	MaxClockSkips = 16
	// EventIDsFor is how long, in broker time, an event is known by its id.
	EventIDsFor = 24 * time.Hour
	// MaxEventIDs bounds the events that one partition knows by their ids; the oldest gives way.
	// Each takes some 80 bytes of memory.
	MaxEventIDs = 131_072
	// MaxSummaryItems bounds the messages and single chats in the summary of one author in one
	// partition; the oldest gives way.
	MaxSummaryItems = 1000
	// MaxDevices bounds the devices of one author that are known by name in one partition; the one
	// that was named longest ago gives way.
	MaxDevices = 16
	// DeviceFor is how long, in broker time, a device is known that is not named again.
	DeviceFor = 30 * 24 * time.Hour
	// MaxReadsAhead bounds the messages that one member has read alone beyond their watermark,
	// where these count.
	MaxReadsAhead = 256
	// MaxRejections bounds the rejections kept for one app in one partition.
	MaxRejections = 200
	// MaxAlertRules bounds the alert rules of one app.
	MaxAlertRules = 32
	// MaxAlerts bounds the alerts kept for one app in one partition, and MaxAlertParts what of the
	// messages of senders and labels is kept there to be added up with other partitions.
	MaxAlerts     = 1000
	MaxAlertParts = 4096
)
