package events

// Outcome is what the fold decided about one event. It is one byte, so that the outcomes of a batch
// are a byte slice. Values above [OutcomeRejected] are rejections, one for each reason; the highest
// bit marks a repeat, see [Outcome.Repeat]. The numbers are part of checkpoints and never change.
type Outcome uint8

// The outcomes. The texts and codes of the receipt limits are from the requirement document; the
// other codes are what the SDK maps the same texts to.
const (
	// OutcomeApplied: the state changed.
	OutcomeApplied Outcome = iota
	// OutcomeDuplicate: the state had it already; a success that changed nothing.
	OutcomeDuplicate
	// OutcomeParked: a receipt, a recall or a conversation read that waits for its message.
	OutcomeParked

	// OutcomeRejected is no outcome itself: the rejections are the values above it.
	OutcomeRejected
)

// The rejections.
const (
	// RejectedNotOpen: group receipts are off for the app.
	RejectedNotOpen Outcome = OutcomeRejected + 1 + iota
	// RejectedPermission: a plain member asked where only owner and admins may.
	RejectedPermission
	// RejectedNotFound: a receipt for a group message that is unknown, recalled, past its validity,
	// without receipts, or sent before the reader joined.
	RejectedNotFound
	// RejectedDailyLimit: the group has used up the day's messages with receipts.
	RejectedDailyLimit
	// RejectedDeliveryOff: delivery receipts are off for the app.
	RejectedDeliveryOff
	// RejectedNoApp: the app was never configured.
	RejectedNoApp
	// RejectedNoGroup: the group is unknown or dissolved.
	RejectedNoGroup
	// RejectedNotMember: the user is not a member of the group.
	RejectedNotMember
	// RejectedMessageExists: another sender already used the message id in this conversation.
	RejectedMessageExists
	// RejectedGroupExists: the group id is taken.
	RejectedGroupExists
	// RejectedNoMessage: a recall of an unknown message, or a receipt for a message of a single
	// chat that is unknown, recalled, or past its validity.
	RejectedNoMessage
	// RejectedNotAllowed: a recall by a user who may not do that, or a change of the owner's role.
	RejectedNotAllowed
	// RejectedGroupFull: the group has [MaxGroupMembers] members, or has had [MaxEverMembers].
	RejectedGroupFull
	// RejectedParkedExpired: a receipt for a group message that was parked and whose message did
	// not come within [ParkedFor], or that was pushed out by newer ones.
	RejectedParkedExpired

	// RejectedOtherAdmins: the group was created with other admins.
	RejectedOtherAdmins
	// RejectedOtherMembers: the group was created with other members.
	RejectedOtherMembers
	// RejectedNoneCame: of what was parked, not a group message's receipt: like
	// RejectedParkedExpired, with a text that names no group.
	RejectedNoneCame

	// RejectedImportAhead: an imported event states a time that has not come yet.
	RejectedImportAhead
	// RejectedImportBehind: an imported event states a time before that of another one that was
	// imported into its conversation.
	RejectedImportBehind

	outcomeEnd
)

// OutcomeHidden is a receipt that was applied and that nobody is told of: docs/rules.md, "Who hides
// what". It reads like OutcomeApplied.
const OutcomeHidden Outcome = 1 << 6

// repeated marks the outcome of a repeat.
const repeated Outcome = 1 << 7

// Outcomes goes through all outcomes that an event may get the first time.
func Outcomes(yield func(Outcome) bool) {
	for o := OutcomeApplied; o < outcomeEnd; o++ {
		if o != OutcomeRejected && !yield(o) {
			return
		}
	}
	yield(OutcomeHidden)
}

// Repeat is the outcome of a repeat of an event that o was decided about: it reads like o, and is
// equal to no outcome of an event that had an effect.
func (o Outcome) Repeat() Outcome { return o | repeated }

// Repeated reports whether the event was a repeat, which had no effect.
func (o Outcome) Repeated() bool { return o&repeated != 0 }

// First is what was decided about the first event of a repeat; o itself for any other outcome.
func (o Outcome) First() Outcome { return o &^ repeated }

var rejections = [outcomeEnd]struct {
	code   int
	reason string
}{
	RejectedNotOpen:       {503, "group ack not open"},
	RejectedPermission:    {503, "group ack msg permission denied"},
	RejectedNotFound:      {503, "group ack msg not found"},
	RejectedDailyLimit:    {503, "limit send group ack msg"},
	RejectedDeliveryOff:   {503, "delivery ack not open"},
	RejectedNoApp:         {404, "app not found"},
	RejectedNoGroup:       {605, "group not found"},
	RejectedNotMember:     {602, "not in group or chatroom"},
	RejectedMessageExists: {409, "message id already used"},
	RejectedGroupExists:   {409, "group already exists"},
	RejectedNoMessage:     {404, "message not found"},
	RejectedNotAllowed:    {403, "permission denied"},
	RejectedGroupFull:     {606, "group is full"},
	RejectedParkedExpired: {503, "group ack msg not found"},
	RejectedOtherAdmins:   {409, "group already exists with other admins"},
	RejectedOtherMembers:  {409, "group already exists with other members"},
	RejectedNoneCame:      {404, "message not found"},
	RejectedImportAhead:   {400, "import of a time to come"},
	RejectedImportBehind:  {409, "import of a time before what was imported"},
}

// String is the public name: "applied", "duplicate", "parked" or "rejected".
func (o Outcome) String() string {
	switch o.First() {
	case OutcomeApplied, OutcomeHidden:
		return "applied"
	case OutcomeDuplicate:
		return "duplicate"
	case OutcomeParked:
		return "parked"
	}
	return "rejected"
}

// Rejected reports whether the event was rejected, or is a repeat of one that was.
func (o Outcome) Rejected() bool { return o.First() > OutcomeRejected && o.First() < outcomeEnd }

// Code is the number by which the SDK knows a rejection; 0 for other outcomes.
func (o Outcome) Code() int {
	if !o.Rejected() {
		return 0
	}
	return rejections[o.First()].code
}

// Reason is the text of a rejection, exactly as the requirement document has the SDK show it; empty
// for other outcomes.
func (o Outcome) Reason() string {
	if !o.Rejected() {
		return ""
	}
	return rejections[o.First()].reason
}
