package events

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ParseSettings returns current with the changes of the JSON object in body: a field that is not in
// the body keeps its value, and an empty body changes nothing. Unknown fields, repeated fields,
// nulls and values that [Settings.Validate] refuses are errors. The error is a [*FieldError] that
// names the field by its path, such as "group_receipts.validity", or "body" if that is no JSON
// object.
func ParseSettings(current Settings, body []byte) (Settings, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return current, current.Validate()
	}
	if bytes.HasPrefix(body, byteOrderMark) {
		return Settings{}, &FieldError{"body", "malformed JSON: a byte order mark at the beginning: send UTF-8 without one"}
	}
	if err := refuseNull(body); err != nil {
		return Settings{}, err
	}
	changed := current
	// The library reads a list into the memory of the old one.
	changed.Alerts = cloneAlerts(current.Alerts)
	if err := json.Unmarshal(body, &changed, json.RejectUnknownMembers(true), json.WithUnmarshalers(wholeNumbers)); err != nil {
		return Settings{}, settingsError(err)
	}
	if len(changed.Alerts) == 0 {
		changed.Alerts = nil
	}
	if err := changed.Validate(); err != nil {
		return Settings{}, err
	}
	return changed, nil
}

// wholeNumbers reads a number that is whole however it is written, as JSON Schema has it:
// 200.0 too.
var wholeNumbers = json.UnmarshalFromFunc(func(dec *jsontext.Decoder, n *int) error {
	if dec.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	whole, ok := parseWhole(string(raw))
	if !ok || int64(int(whole)) != whole {
		return errors.New("not a whole number")
	}
	*n = int(whole)
	return nil
})

// Validate checks every value. The error is a [*FieldError].
func (s *Settings) Validate() error {
	if bad := s.problem(); bad != nil {
		return bad
	}
	return nil
}

func (s *Settings) problem() *FieldError {
	group := &s.GroupReceipts
	switch {
	case int(s.ReadReceipts) >= len(readReceiptsNames):
		return &FieldError{"read_receipts", errName{readReceiptsNames}.Error()}
	case int(s.UnreadBy) >= len(unreadByNames):
		return &FieldError{"unread_by", errName{unreadByNames}.Error()}
	case int(s.ReceiptTime) >= len(receiptTimeNames):
		return &FieldError{"receipt_time", errName{receiptTimeNames}.Error()}
	case s.MaxReportAge != 0 && (s.MaxReportAge < MinReportAge || s.MaxReportAge > LongestReportAge):
		return &FieldError{"max_report_age", "not from 1m to 168h"}
	case s.InvitationValidity != 0 && (s.InvitationValidity < MinInvitationValidity || s.InvitationValidity > LongestInvitationValidity):
		return &FieldError{"invitation_validity", "not from 1s to 2160h"}
	case int(group.AboveLimit) >= len(aboveLimitNames):
		return &FieldError{"group_receipts.above_limit", errName{aboveLimitNames}.Error()}
	case group.WhoMayRequest != WhoMembers && group.WhoMayRequest != WhoAdmins:
		return &FieldError{"group_receipts.who_may_request", "neither members nor admins"}
	case group.Visibility != VisibleSender && group.Visibility != VisibleMembers:
		return &FieldError{"group_receipts.visibility", "neither sender nor members"}
	case group.MaxGroupSize < 0:
		return &FieldError{"group_receipts.max_group_size", "negative"}
	case group.MaxRequestsPerGroupPerDay < 0:
		return &FieldError{"group_receipts.max_requests_per_group_per_day", "negative"}
	}
	if problem := validityProblem(group.Validity); problem != "" {
		return &FieldError{"group_receipts.validity", problem}
	}
	if problem := validityProblem(s.SingleReceipts.Validity); problem != "" {
		return &FieldError{"single_receipts.validity", problem}
	}
	if problem := validityProblem(s.MaxReportAge); problem != "" {
		return &FieldError{"max_report_age", problem}
	}
	if problem := validityProblem(s.InvitationValidity); problem != "" {
		return &FieldError{"invitation_validity", problem}
	}
	return alertsProblem(s.Alerts)
}

// validityProblem refuses what the log's clock cannot tell from "no limit".
func validityProblem(d Duration) string {
	switch {
	case d < 0:
		return "negative"
	case time.Duration(d)%time.Millisecond != 0:
		return "not whole milliseconds"
	}
	return ""
}

// refuseNull refuses a null anywhere in body. The JSON library reads null as the zero value, which
// in settings often means "no limit": hardly what a client wants that has no value for a field.
func refuseNull(body []byte) error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(body))
	for {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return settingsError(err)
		}
		if token.Kind() == 'n' {
			return &FieldError{settingsPath(dec.StackPointer()), "null"}
		}
	}
}

// settingsError turns errors of the JSON library into ours. Theirs name Go types, which callers of
// an HTTP API do not know.
func settingsError(err error) error {
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return &FieldError{settingsPath(syntactic.JSONPointer), "repeated"}
		}
		return &FieldError{"body", "malformed JSON: " + syntactic.Err.Error()}
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return &FieldError{"body", err.Error()}
	}
	path := settingsPath(semantic.JSONPointer)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return &FieldError{path, "unknown field"}
	case semantic.GoType == reflect.TypeFor[Duration]() && semantic.JSONKind == '"' && semantic.Err != nil:
		return &FieldError{path, semantic.Err.Error()}
	}
	if bad, ok := errors.AsType[errName](err); ok {
		return &FieldError{path, bad.Error()}
	}
	return &FieldError{path, WrongType(semantic.GoType)}
}

// settingsPath writes "/group_receipts/validity" as "group_receipts.validity", and the root as
// "body".
func settingsPath(p jsontext.Pointer) string {
	if p == "" {
		return "body"
	}
	return clip(strings.Join(slices.Collect(p.Tokens()), "."))
}

// WrongType says which type of JSON a value should have had that the JSON library could not read
// into a type of Go, in the words of an error: "not a string".
func WrongType(t reflect.Type) string {
	if t == reflect.TypeFor[Duration]() {
		return `not a duration like "72h"`
	}
	for t != nil && t.Kind() == reflect.Pointer { // optional, or as an unmarshaler was given it
		t = t.Elem()
	}
	if t == nil {
		return "not of the right type"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "neither true nor false"
	case reflect.String, reflect.Uint8: // a small number of ours has names in JSON
		return "not a string"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "not a whole number"
	case reflect.Slice, reflect.Array:
		return "not an array"
	case reflect.Struct, reflect.Map:
		return "not an object"
	}
	return "not of the right type"
}
