package events

import (
	"fmt"
	"time"

	"pgregory.net/rapid"
	"strings"
)

// drawID draws an id: mostly plain, now and then anything that is allowed.
func drawID(t *rapid.T, label string) string {
	if rapid.IntRange(0, 3).Draw(t, label+" shape") > 0 {
		return rapid.StringMatching(`[a-z]{1,3}-[0-9]{1,6}`).Draw(t, label)
	}
	odd := rapid.SampledFrom([]rune("abZ09 -_.~%#/\\\"'<>&*+@:é消息😀\u2028\u00a0"))
	id := string(rapid.SliceOfN(odd, 1, 30).Draw(t, label))
	return id
}

func drawIDs(t *rapid.T, label string) []string {
	n := rapid.IntRange(0, 4).Draw(t, label+" count")
	var ids []string
	for range n {
		ids = append(ids, drawID(t, label))
	}
	return ids
}

// drawPublic draws a valid event of a kind that producers may send, as they
// may, with App set.
func drawPublic(t *rapid.T) Event {
	first, last := MessageSent, GroupDissolved
	if rapid.IntRange(0, 15).Draw(t, "last kind") == 0 {
		first, last = ConversationMarkedUnread, ConversationMarkedUnread
	}
	e := drawEvent(t, first, last)
	e.Imported = false // which they cannot say
	return e
}

// drawEvent draws a valid event of any kind from first to last, with App set.
func drawEvent(t *rapid.T, first, last Kind) Event {
	e := Event{
		App:  rapid.SampledFrom([]string{"acme#chat", "a.b#c-d", "1100#demo_2"}).Draw(t, "app"),
		Kind: Kind(rapid.IntRange(int(first), int(last)).Draw(t, "kind")),
	}
	rule := &kindRules[e.Kind]
	given := rule.required
	for f := range fieldEnd {
		if rule.allowed.has(f) && !eitherFields.has(f) && rapid.Bool().Draw(t, fieldNames[f]+" given") {
			given |= 1 << f
		}
	}
	if rule.either {
		given |= 1 << rapid.SampledFrom([]field{fieldGroup, fieldPeer}).Draw(t, "conversation")
	}
	if !given.has(fieldGroup) {
		given &^= 1 << fieldReceipt
	}
	drawFields(t, &e, rule, given)
	return e
}

func drawFields(t *rapid.T, e *Event, rule *kindRule, given fieldSet) {
	if given.has(rule.message) {
		e.Message = drawID(t, "message")
	}
	if given.has(rule.user) {
		e.User = drawID(t, "user")
	}
	if given.has(fieldGroup) {
		e.Group = drawID(t, "group")
	}
	if given.has(fieldPeer) {
		for e.Peer = drawID(t, "peer"); e.Peer == e.User; {
			e.Peer += "'"
		}
	}
	e.Receipt = given.has(fieldReceipt)
	e.Strict = given.has(fieldStrict)
	e.Silent = given.has(fieldSilent)
	e.Imported = given.has(fieldImported)
	if given.has(fieldLabel) {
		e.Label = rapid.SampledFrom([]string{"spring", "campaign-12", "消息", strings.Repeat("l", MaxLabelBytes)}).Draw(t, "label")
	}
	if given.has(fieldContent) {
		e.Content = rapid.OneOf(rapid.StringN(1, 40, MaxContentBytes), rapid.Just("seen\n\"ok\"\t\\\x00")).Draw(t, "content")
	}
	if given.has(fieldRole) {
		e.Role = rapid.SampledFrom([]Role{RoleMember, RoleAdmin, RoleOwner}).Draw(t, "role")
	}
	if given.has(fieldMembers) {
		e.Members = drawIDs(t, "member")
	}
	if given.has(fieldAdmins) {
		e.Admins = drawIDs(t, "admin")
	}
	if given.has(fieldTime) || e.Imported {
		e.Time = rapid.Int64Range(minTime, maxTime).Draw(t, "time")
	}
	if given.has(fieldEventID) {
		e.EventID = rapid.OneOf(rapid.StringMatching(`[a-z]{1,40}/[0-9]{5}`), rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)).Draw(t, "event id")
	}
	if given.has(fieldSettings) {
		s := drawSettings(t)
		e.Settings = &s
	}
	if given.has(fieldRevision) {
		e.Revision = rapid.Uint64Min(1).Draw(t, "revision")
	}
	if e.Kind == UserConfigured {
		choice := rapid.Uint8Range(0, uint8(choiceEnd)-1)
		e.SendReads, e.SendDeliveries = Choice(choice.Draw(t, "reads")), Choice(choice.Draw(t, "deliveries"))
		switch rapid.IntRange(0, 2).Draw(t, "where") {
		case 1:
			e.Group = drawID(t, "group")
		case 2:
			e.Peer = e.User + "'"
		}
	}
	if given.has(fieldUpto) {
		e.Upto = rapid.Uint64Min(1).Draw(t, "upto")
	}
	if e.Kind == StatisticSeen {
		if e.Upto = rapid.Uint64().Draw(t, "upto"); e.Upto == 0 || rapid.Bool().Draw(t, "named") {
			e.Device = drawID(t, "device")
		}
	}
}

func drawSettings(t *rapid.T) Settings {
	validity := rapid.Map(rapid.Int64Range(0, 1<<40), func(ms int64) Duration { return Duration(ms * 1e6) })
	limit := rapid.IntRange(0, 1<<31)
	return Settings{
		DeliveryReceipts: rapid.Bool().Draw(t, "delivery"),
		OpenRegistration: rapid.Bool().Draw(t, "registration"),
		GroupReceipts: GroupReceipts{
			Enabled:                   rapid.Bool().Draw(t, "enabled"),
			WhoMayRequest:             rapid.SampledFrom([]string{WhoMembers, WhoAdmins}).Draw(t, "who"),
			Validity:                  validity.Draw(t, "validity"),
			MaxGroupSize:              limit.Draw(t, "size"),
			Visibility:                rapid.SampledFrom([]string{VisibleSender, VisibleMembers}).Draw(t, "visibility"),
			MaxRequestsPerGroupPerDay: limit.Draw(t, "requests"),
			AboveLimit:                AboveLimit(rapid.IntRange(0, len(aboveLimitNames)-1).Draw(t, "above limit")),
		},
		SingleReceipts:     SingleReceipts{Validity: validity.Draw(t, "single validity")},
		ReadReceipts:       ReadReceipts(rapid.IntRange(0, len(readReceiptsNames)-1).Draw(t, "reads")),
		Reciprocal:         rapid.Bool().Draw(t, "reciprocal"),
		UnreadBy:           UnreadBy(rapid.IntRange(0, len(unreadByNames)-1).Draw(t, "unread by")),
		ReceiptTime:        ReceiptTime(rapid.IntRange(0, len(receiptTimeNames)-1).Draw(t, "receipt time")),
		MaxReportAge:       Duration(rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 7 * 24 * time.Hour}).Draw(t, "report age")),
		InvitationValidity: Duration(rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 90 * 24 * time.Hour}).Draw(t, "invitation validity")),
		Alerts:             drawAlerts(t),
	}
}

func drawAlerts(t *rapid.T) (rules []AlertRule) {
	for i := range rapid.IntRange(0, 3).Draw(t, "rules") {
		r := AlertRule{
			Name: fmt.Sprint("rule ", i), By: AlertBy(rapid.IntRange(0, len(alertByNames)-1).Draw(t, "by")), ID: "spring",
			After:         Duration(time.Hour) * Duration(rapid.IntRange(1, 168).Draw(t, "after")),
			MinRecipients: rapid.IntRange(0, 1<<31).Draw(t, "recipients"),
		}
		if r.By == AlertByGroup && rapid.Bool().Draw(t, "each") {
			r.ID = ""
		}
		if rapid.Bool().Draw(t, "median") {
			r.MedianAbove = r.After / 3 * 2
		} else {
			r.ReadBelow = rapid.IntRange(1, 100).Draw(t, "percent")
		}
		rules = append(rules, r)
	}
	return rules
}
