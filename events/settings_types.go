package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings are the receipt rules of one app. The zero value is not the default: see
// [DefaultSettings].
type Settings struct {
	// DeliveryReceipts lets single-chat delivery receipts be recorded.
	DeliveryReceipts bool `json:"delivery_receipts"`
	// GroupReceipts are the limits of group read receipts.
	GroupReceipts GroupReceipts `json:"group_receipts"`
	// SingleReceipts are the limits of single-chat receipts.
	SingleReceipts SingleReceipts `json:"single_receipts"`
	// ReadReceipts says who decides whether reads are told.
	ReadReceipts ReadReceipts `json:"read_receipts"`
	// Reciprocal has those who hide their reads see nobody else's.
	Reciprocal bool `json:"reciprocal_read_receipts"`
	// UnreadBy says what lowers unread counts.
	UnreadBy UnreadBy `json:"unread_by"`
	// ReceiptTime says whose time of a receipt counts.
	ReceiptTime ReceiptTime `json:"receipt_time,omitzero"`
	// MaxReportAge is how long before its arrival a receipt may say that it happened; see
	// [Settings.ReportAge].
	MaxReportAge Duration `json:"max_report_age,omitzero"`
	// OpenRegistration lets SDK clients register users without the admin key.
	OpenRegistration bool `json:"open_registration"`
	// Invitations says whether SDK users are put into groups by others at once, or have to agree.
	Invitations Invitations `json:"invitations,omitzero"`
	// InvitationValidity is how long an invitation waits for consent; see
	// [Settings.InvitationsWait].
	InvitationValidity Duration `json:"invitation_validity,omitzero"`
	// Alerts are the rules by which the app is alerted; at most [MaxAlertRules]. They are not
	// changed once they are in settings.
	Alerts []AlertRule `json:"alerts,omitzero"`
}

// Invitations says what an invitation into a group by an SDK user does.
type Invitations bool

// Values of Invitations.
const (
	// InvitationsOpen: whoever is invited is a member.
	InvitationsOpen Invitations = false
	// InvitationsConsent: whoever is invited is a member once they have agreed.
	InvitationsConsent Invitations = true
)

// MarshalText writes "open" or "consent".
func (i Invitations) MarshalText() ([]byte, error) {
	if i == InvitationsConsent {
		return []byte("consent"), nil
	}
	return []byte("open"), nil
}

// UnmarshalText reads "open" or "consent".
func (i *Invitations) UnmarshalText(text []byte) error {
	switch string(text) {
	case "open":
		*i = InvitationsOpen
	case "consent":
		*i = InvitationsConsent
	default:
		return errors.New("neither open nor consent")
	}
	return nil
}

// GroupReceipts are the limits the requirement document puts on group read receipts.
type GroupReceipts struct {
	// Enabled switches group receipts on; while they are off, asking for them and reading are
	// rejected with "group ack not open".
	Enabled bool `json:"enabled"`
	// WhoMayRequest is WhoMembers or WhoAdmins.
	WhoMayRequest string `json:"who_may_request"`
	// Validity is how long after sending a read still counts; 0 = no limit.
	Validity Duration `json:"validity"`
	// MaxGroupSize is the largest group, the sender included, whose messages collect receipts with
	// names; 0 = no limit.
	MaxGroupSize int `json:"max_group_size"`
	// AboveLimit is what messages of larger groups collect.
	AboveLimit AboveLimit `json:"above_limit,omitzero"`
	// Visibility is VisibleSender or VisibleMembers: who may see counts and readers.
	Visibility string `json:"visibility"`
	// MaxRequestsPerGroupPerDay bounds messages that ask for receipts, by UTC day; 0 = no limit.
	MaxRequestsPerGroupPerDay int `json:"max_requests_per_group_per_day"`
}

// SingleReceipts are the limits of single-chat receipts.
type SingleReceipts struct {
	// Validity is how long a message is kept and may be delivered and read; 0 = no limit.
	Validity Duration `json:"validity"`
}

// Values of GroupReceipts.WhoMayRequest and GroupReceipts.Visibility.
const (
	WhoMembers = "members"
	WhoAdmins  = "admins"

	VisibleSender  = "sender"
	VisibleMembers = "members"
)

// DefaultSettings are the requirement document's defaults: group receipts off, every member may
// ask, valid for three days, groups of at most 200, visible to the sender only.
func DefaultSettings() Settings {
	return Settings{
		DeliveryReceipts: true,
		GroupReceipts: GroupReceipts{
			WhoMayRequest: WhoMembers,
			Validity:      Duration(72 * time.Hour),
			MaxGroupSize:  200,
			Visibility:    VisibleSender,
		},
		SingleReceipts: SingleReceipts{Validity: Duration(168 * time.Hour)},
	}
}

// ReadReceipts says who decides whether reads are told; see docs/rules.md, "Who hides what".
type ReadReceipts uint8

// The values of ReadReceipts. Their numbers are part of the log's encoding.
const (
	// ReadReceiptsUser: each user.
	ReadReceiptsUser ReadReceipts = iota
	// ReadReceiptsAlways: they are always told, and deliveries too.
	ReadReceiptsAlways
	// ReadReceiptsNever: they are never told.
	ReadReceiptsNever
)

var readReceiptsNames = []string{"user", "always", "never"}

// MarshalText writes the public name.
func (r ReadReceipts) MarshalText() ([]byte, error) { return nameOf(r, readReceiptsNames) }

// UnmarshalText reads the public name.
func (r *ReadReceipts) UnmarshalText(text []byte) error { return byName(r, text, readReceiptsNames) }

// UnreadBy says what lowers unread counts; see docs/rules.md, "Reads and unread".
type UnreadBy uint8

// The values of UnreadBy. Their numbers are part of the log's encoding.
const (
	// UnreadByConversation: only a conversation read, as the vendor's SDK has it.
	UnreadByConversation UnreadBy = iota
	// UnreadByMessage: a read of a single message too.
	UnreadByMessage
)

var unreadByNames = []string{"conversation", "message"}

// MarshalText writes the public name.
func (u UnreadBy) MarshalText() ([]byte, error) { return nameOf(u, unreadByNames) }

// UnmarshalText reads the public name.
func (u *UnreadBy) UnmarshalText(text []byte) error { return byName(u, text, unreadByNames) }

// AboveLimit says what becomes of receipts for a message of a group that was too large for them.
type AboveLimit uint8

// The values of AboveLimit. Their numbers are part of the log's encoding.
const (
	// AboveLimitNothing: nothing, as the requirement document has it.
	AboveLimitNothing AboveLimit = iota
	// AboveLimitCounts: they are counted, without names.
	AboveLimitCounts
)

var aboveLimitNames = []string{"nothing", "counts"}

// MarshalText writes the public name.
func (l AboveLimit) MarshalText() ([]byte, error) { return nameOf(l, aboveLimitNames) }

// UnmarshalText reads the public name.
func (l *AboveLimit) UnmarshalText(text []byte) error { return byName(l, text, aboveLimitNames) }

// ReceiptTime says by whose time receipts are valid and ordered; see docs/rules.md, "The time of
// reading".
type ReceiptTime uint8

// The values of ReceiptTime. Their numbers are part of the log's encoding.
const (
	// ReceiptTimeArrival: by that of the log.
	ReceiptTimeArrival ReceiptTime = iota
	// ReceiptTimeReported: by that which the receipt has, within bounds.
	ReceiptTimeReported
)

var receiptTimeNames = []string{"arrival", "reported"}

// MarshalText writes the public name.
func (r ReceiptTime) MarshalText() ([]byte, error) { return nameOf(r, receiptTimeNames) }

// UnmarshalText reads the public name.
func (r *ReceiptTime) UnmarshalText(text []byte) error { return byName(r, text, receiptTimeNames) }

// The bounds of Settings.MaxReportAge, and what it is if it was not set.
const (
	MinReportAge     = Duration(time.Minute)
	DefaultReportAge = Duration(24 * time.Hour)
	LongestReportAge = Duration(7 * 24 * time.Hour)
)

// ReportAge is MaxReportAge, or [DefaultReportAge] where it was not set. It is 0 if reported times
// do not count.
func (s *Settings) ReportAge() Duration {
	switch {
	case s.ReceiptTime != ReceiptTimeReported:
		return 0
	case s.MaxReportAge == 0:
		return DefaultReportAge
	}
	return s.MaxReportAge
}

// The bounds of Settings.InvitationValidity, and what it is if it was not set.
const (
	MinInvitationValidity     = Duration(time.Second)
	DefaultInvitationValidity = Duration(7 * 24 * time.Hour)
	LongestInvitationValidity = Duration(90 * 24 * time.Hour)
)

// InvitationsWait is InvitationValidity, or [DefaultInvitationValidity] where it was not set.
func (s *Settings) InvitationsWait() Duration {
	if s.InvitationValidity == 0 {
		return DefaultInvitationValidity
	}
	return s.InvitationValidity
}

func nameOf[T ~uint8](v T, names []string) ([]byte, error) {
	if int(v) >= len(names) {
		return nil, fmt.Errorf("%d is none of %s", v, strings.Join(names, ", "))
	}
	return []byte(names[v]), nil
}

// errName is wrapped by the errors of byName.
type errName struct{ names []string }

func (e errName) Error() string { return "none of " + strings.Join(e.names, ", ") }

func byName[T ~uint8](v *T, text []byte, names []string) error {
	i := slices.Index(names, string(text))
	if i < 0 {
		return errName{names}
	}
	*v = T(i)
	return nil
}

// Choice is what a user wants to be done with their receipts of one kind.
type Choice uint8

// The choices. Their numbers are part of the log's encoding and of the checkpoint's.
const (
	// ChoiceNone: nothing was said.
	ChoiceNone Choice = iota
	// ChoiceSend: others are told.
	ChoiceSend
	// ChoiceHide: others are not told.
	ChoiceHide

	choiceEnd
)
