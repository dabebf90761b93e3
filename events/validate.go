package events

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FieldError says what is wrong with one field of an event or of settings.
type FieldError struct {
	// Field is the field's name in the public JSON format: "from", "members[3]",
	// "group_receipts.validity".
	Field string
	// Problem says what is wrong with it, such as "missing" or "129 bytes, at most 128".
	Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

func fieldErrorf(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// Client times lie in years of four digits; 0 means "not given".
const (
	minTime = 1
	maxTime = 253402300799999 // 9999-12-31T23:59:59.999Z
)

// Validate checks all that can be checked about an event by itself: it has the fields that its kind
// needs and no others, and every value keeps to its limits. Ids have 1 to [MaxIDBytes] bytes of
// UTF-8 without control characters. App is not looked at, see [ValidateApp].
//
// The error is a [*FieldError] that names the first bad field. A valid event costs no allocation.
func (e *Event) Validate() error {
	if !e.Kind.Valid() {
		return fieldErrorf("type", "unknown kind %d", uint8(e.Kind))
	}
	return e.validate(e.fields(&kindRules[e.Kind]))
}

// validate checks an event of a valid kind, of which the given fields are present.
func (e *Event) validate(present fieldSet) error {
	rule := &kindRules[e.Kind]
	if surplus := present &^ rule.allowed; surplus != 0 {
		return fieldErrorf(fieldNames[surplus.first()], "not allowed in %s", e.Kind)
	}
	if missing := rule.required &^ present; missing != 0 {
		return &FieldError{fieldNames[missing.first()], "missing"}
	}
	if rule.either {
		switch present & eitherFields {
		case 0:
			return &FieldError{"group", "missing: name a group or a peer"}
		case eitherFields:
			return &FieldError{"peer", "not allowed beside group"}
		}
	}
	if err := e.validateIDs(rule, present); err != nil {
		return err
	}
	if e.Receipt && e.Group == "" {
		return &FieldError{"receipt", "only for messages to a group"}
	}
	if e.Content != "" {
		if err := validateContent(e.Content); err != nil {
			return err
		}
	}
	if e.Time != 0 && (e.Time < minTime || e.Time > maxTime) {
		return &FieldError{"time", "not between the years 1970 and 9999"}
	}
	if e.Imported && e.Time == 0 {
		return &FieldError{"time", "missing: an imported event says when it happened"}
	}
	if present.has(fieldLabel) {
		if bad := LabelProblem(e.Label); bad != "" {
			return &FieldError{"label", bad}
		}
	}
	if present.has(fieldEventID) {
		if bad := eventIDProblem(e.EventID); bad != "" {
			return &FieldError{"event_id", bad}
		}
	}
	if e.Kind >= GroupCreated {
		return e.validateAttributes()
	}
	return nil
}

func (e *Event) validateIDs(rule *kindRule, present fieldSet) error {
	if present.has(rule.message) && !plainID(e.Message) {
		if bad := IDProblem(e.Message); bad != "" {
			return &FieldError{fieldNames[rule.message], bad}
		}
	}
	if present.has(rule.user) && !plainID(e.User) {
		if bad := IDProblem(e.User); bad != "" {
			return &FieldError{fieldNames[rule.user], bad}
		}
	}
	if present.has(fieldGroup) && !plainID(e.Group) {
		if bad := IDProblem(e.Group); bad != "" {
			return &FieldError{"group", bad}
		}
	}
	if !present.has(fieldPeer) {
		return nil
	}
	if !plainID(e.Peer) {
		if bad := IDProblem(e.Peer); bad != "" {
			return &FieldError{"peer", bad}
		}
	}
	if e.Peer == e.User {
		return fieldErrorf("peer", "the same user as %s", fieldNames[rule.user])
	}
	return nil
}

// validateAttributes checks the fields that only rare kinds have.
func (e *Event) validateAttributes() error {
	switch e.Kind {
	case GroupCreated:
		if len(e.Members)+len(e.Admins) > MaxFirstMembers {
			return fieldErrorf("members", "more than %d members and admins", MaxFirstMembers)
		}
		if err := validateIDList("members", e.Members); err != nil {
			return err
		}
		return validateIDList("admins", e.Admins)
	case GroupRole:
		if !e.Role.given() {
			return &FieldError{"role", "none of owner, admin and member"}
		}
	case AppConfigured:
		if bad := e.Settings.problem(); bad != nil {
			return &FieldError{"settings." + bad.Field, bad.Problem}
		}
	case StatisticSeen:
		if e.Device == "" {
			if e.Upto == 0 {
				return &FieldError{"upto", "missing"}
			}
		} else if bad := IDProblem(e.Device); bad != "" {
			return &FieldError{"device", bad}
		}
	case UserConfigured:
		switch {
		case e.Group != "" && e.Peer != "":
			return &FieldError{"peer", "not allowed beside group"}
		case e.SendReads >= choiceEnd:
			return &FieldError{"send_read_receipts", "unknown"}
		case e.SendDeliveries >= choiceEnd:
			return &FieldError{"send_delivery_receipts", "unknown"}
		}
	}
	return nil
}

func validateIDList(name string, ids []string) error {
	for i, id := range ids {
		if plainID(id) {
			continue
		}
		if bad := IDProblem(id); bad != "" {
			return &FieldError{name + "[" + strconv.Itoa(i) + "]", bad}
		}
	}
	return nil
}

// plainID reports whether id is valid and printable ASCII, as nearly all are.
func plainID(id string) bool {
	if uint(len(id)-1) >= MaxIDBytes {
		return false
	}
	for i := 0; i < len(id); i++ {
		if uint8(id[i]-0x20) >= 0x7f-0x20 {
			return false
		}
	}
	return true
}

// IDProblem says what is wrong with an id of a user, group or message; empty if nothing is.
func IDProblem(id string) string { return idProblem(id, MaxIDBytes) }

// eventIDProblem says what is wrong with the id of an event; empty if nothing is.
func eventIDProblem(id string) string { return idProblem(id, MaxEventIDBytes) }

// LabelProblem says what is wrong with the label of a message; empty if nothing is.
func LabelProblem(label string) string { return idProblem(label, MaxLabelBytes) }

func idProblem(id string, most int) string {
	switch {
	case id == "":
		return "empty"
	case len(id) > most:
		return fmt.Sprintf("%d bytes, at most %d", len(id), most)
	case !utf8.ValidString(id):
		return "not valid UTF-8"
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return fmt.Sprintf("control character %U", r)
		}
	}
	return ""
}

// validateMessages checks the messages that one event of a kind names.
func validateMessages(kind Kind, ids []string, besideOne bool) error {
	switch {
	case kind != MessageRead:
		return fieldErrorf("messages", "not allowed in %s", kind)
	case besideOne:
		return &FieldError{"messages", "not allowed beside message"}
	case len(ids) == 0:
		return &FieldError{"messages", "empty"}
	case len(ids) > MaxMessagesRead:
		return fieldErrorf("messages", "%d messages, at most %d", len(ids), MaxMessagesRead)
	}
	return validateIDList("messages", ids)
}

func validateContent(content string) error {
	if len(content) > MaxContentBytes {
		return fieldErrorf("content", "%d bytes, at most %d", len(content), MaxContentBytes)
	}
	if !utf8.ValidString(content) {
		return &FieldError{"content", "not valid UTF-8"}
	}
	return nil
}

// clip shortens text from outside for an error message.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
