package events

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// AlertRule says of which hours of messages an app wants to be alerted, since too few have read
// them; see docs/rules.md, "Alerts". It has exactly one of ReadBelow and MedianAbove.
type AlertRule struct {
	// Name is unique in the app; at most [MaxLabelBytes].
	Name string `json:"name"`
	// By says whose messages are judged together.
	By AlertBy `json:"by"`
	// ID is the group, sender or label. Of a rule by groups it may be empty: each of them.
	ID string `json:"id,omitzero"`
	// After is how long after the end of their hour messages are judged: whole hours, from one to
	// [LongestAlertAfter].
	After Duration `json:"after"`
	// ReadBelow is the percentage of recipients of whom fewer have read.
	ReadBelow int `json:"read_percent_below,omitzero"`
	// MedianAbove is a time within which fewer than half of the recipients have read. It is not
	// longer than After.
	MedianAbove Duration `json:"median_above,omitzero"`
	// MinRecipients is of how many recipients an hour is not judged, being too few.
	MinRecipients int `json:"min_recipients,omitzero"`
}

// AlertBy says whose messages a rule judges together.
type AlertBy uint8

// The values of AlertBy. Their numbers are part of the log's encoding and of the checkpoint's.
const (
	// AlertByGroup: those of a group.
	AlertByGroup AlertBy = iota
	// AlertBySender: those of a sender, in groups and single chats.
	AlertBySender
	// AlertByLabel: those with a label.
	AlertByLabel
)

var alertByNames = []string{"group", "sender", "label"}

// MarshalText writes the public name.
func (b AlertBy) MarshalText() ([]byte, error) { return nameOf(b, alertByNames) }

// UnmarshalText reads the public name.
func (b *AlertBy) UnmarshalText(text []byte) error { return byName(b, text, alertByNames) }

// LongestAlertAfter bounds AlertRule.After.
const LongestAlertAfter = Duration(7 * 24 * time.Hour)

// Percent is of how many recipients, in a hundred, fewer have read where the rule alerts.
func (r *AlertRule) Percent() uint64 {
	if r.MedianAbove > 0 {
		return 50
	}
	return uint64(r.ReadBelow)
}

// alertsProblem checks the rules of an app.
func alertsProblem(rules []AlertRule) *FieldError {
	if len(rules) > MaxAlertRules {
		return &FieldError{"alerts", fmt.Sprintf("more than %d", MaxAlertRules)}
	}
	names := make(map[string]bool, len(rules))
	for i := range rules {
		field, problem := rules[i].problem()
		if problem == "" && names[rules[i].Name] {
			field, problem = "name", "that of another rule"
		}
		if problem != "" {
			return &FieldError{fmt.Sprintf("alerts.%d.%s", i, field), problem}
		}
		names[rules[i].Name] = true
	}
	return nil
}

func (r *AlertRule) problem() (field, problem string) {
	if problem := idProblem(r.Name, MaxLabelBytes); problem != "" {
		return "name", problem
	}
	most := MaxIDBytes
	if r.By == AlertByLabel {
		most = MaxLabelBytes
	}
	switch {
	case int(r.By) >= len(alertByNames):
		return "by", errName{alertByNames}.Error()
	case r.ID == "" && r.By != AlertByGroup:
		return "id", "missing: only rules by group may be for each of them"
	case r.ID != "" && idProblem(r.ID, most) != "":
		return "id", idProblem(r.ID, most)
	case r.After < Duration(time.Hour) || r.After > LongestAlertAfter || time.Duration(r.After)%time.Hour != 0:
		return "after", "not whole hours, from 1h to 168h"
	case r.ReadBelow < 0 || r.ReadBelow > 100:
		return "read_percent_below", "not from 1 to 100"
	case (r.ReadBelow == 0) == (r.MedianAbove == 0):
		return "read_percent_below", "exactly one of read_percent_below and median_above is needed"
	case r.MedianAbove < 0 || r.MedianAbove > r.After || time.Duration(r.MedianAbove)%time.Millisecond != 0:
		return "median_above", "not whole milliseconds, up to the value of after"
	case r.MinRecipients < 0:
		return "min_recipients", "negative"
	}
	return "", ""
}

// Fields of the AlertRule message.
const (
	alertName = iota + 1
	alertBy
	alertID
	alertAfter
	alertReadBelow
	alertMedianAbove
	alertMinRecipients
)

// AppendAlertRule appends the protobuf encoding of a rule.
func AppendAlertRule(dst []byte, r *AlertRule) []byte {
	dst = appendString(dst, alertName, r.Name)
	dst = appendUint(dst, alertBy, uint64(r.By))
	if r.ID != "" {
		dst = appendString(dst, alertID, r.ID)
	}
	dst = appendUint(dst, alertAfter, uint64(r.After))
	dst = appendUint(dst, alertReadBelow, uint64(r.ReadBelow))
	dst = appendUint(dst, alertMedianAbove, uint64(r.MedianAbove))
	return appendUint(dst, alertMinRecipients, uint64(r.MinRecipients))
}

// ReadAlertRule reads what [AppendAlertRule] wrote, and keeps nothing of it.
func ReadAlertRule(data []byte) (r AlertRule, err error) {
	err = readFields(data, func(f *wireField) error { return readAlertRule(&r, f) })
	return r, err
}

func readAlertRule(r *AlertRule, f *wireField) error {
	switch f.num {
	case alertName:
		return f.shortString(&r.Name)
	case alertBy:
		return readEnum(f, &r.By, alertByNames)
	case alertID:
		return f.shortString(&r.ID)
	case alertAfter:
		return f.duration(&r.After)
	case alertReadBelow:
		return f.int(&r.ReadBelow)
	case alertMedianAbove:
		return f.duration(&r.MedianAbove)
	case alertMinRecipients:
		return f.int(&r.MinRecipients)
	}
	return unknown("field %d", f.num)
}

// readAlerts reads one more rule of an app.
func readAlerts(rules *[]AlertRule, f *wireField) error {
	if len(*rules) == MaxAlertRules {
		return malformed("more than %d alert rules", MaxAlertRules)
	}
	if err := f.is(protowire.BytesType); err != nil {
		return err
	}
	r, err := ReadAlertRule(f.bytes)
	*rules = append(*rules, r)
	return err
}

// cloneAlerts copies rules so that they share nothing.
func cloneAlerts(rules []AlertRule) []AlertRule {
	if len(rules) == 0 {
		return nil
	}
	out := make([]AlertRule, len(rules))
	for i, r := range rules {
		r.Name, r.ID = strings.Clone(r.Name), strings.Clone(r.ID)
		out[i] = r
	}
	return out
}
