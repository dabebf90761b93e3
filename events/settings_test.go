package events

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

func TestParseSettingsChangesOnlyWhatIsGiven(t *testing.T) {
	current := DefaultSettings()
	current.GroupReceipts.MaxGroupSize = 7

	enabled := current
	enabled.GroupReceipts.Enabled = true
	several := current
	several.DeliveryReceipts = false
	several.GroupReceipts.Validity = 0
	several.GroupReceipts.WhoMayRequest = WhoAdmins
	several.GroupReceipts.MaxRequestsPerGroupPerDay = 3
	several.SingleReceipts.Validity = Duration(90 * 60 * 1e9)
	for _, test := range []struct {
		body string
		want Settings
	}{
		{``, current},
		{" \n", current},
		{`{}`, current},
		{`{"group_receipts":{}}`, current},
		{`{"group_receipts":{"enabled":true}}`, enabled},
		{`{"group_receipts":{"enabled":true,"max_group_size":7.0,"max_requests_per_group_per_day":0e3}}`, enabled},
		{`{"delivery_receipts":false,"group_receipts":{"validity":"0","who_may_request":"admins","max_requests_per_group_per_day":3},"single_receipts":{"validity":"90m"}}`, several},
	} {
		got, err := ParseSettings(current, []byte(test.body))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", test.body, got, err, test.want)
		}
	}
}

func TestParseSettingsNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`[]`, "body: not an object"},
		{"\ufeff{}", "body: malformed JSON: a byte order mark at the beginning: send UTF-8 without one"},
		{`"x"`, "body: not an object"},
		{`null`, "body: null"},
		{`{`, "body: malformed JSON: unexpected EOF"},
		{`{} {}`, "body: malformed JSON: invalid character '{' after top-level value"},
		{`{"x":1}`, "x: unknown field"},
		{`{"Delivery_Receipts":true}`, "Delivery_Receipts: unknown field"},
		{`{"group_receipts":{"validty":"1h"}}`, "group_receipts.validty: unknown field"},
		{`{"group_receipts":{"a/b~c":"1h"}}`, "group_receipts.a/b~c: unknown field"},
		{`{"open_registration":true,"open_registration":true}`, "open_registration: repeated"},
		{`{"group_receipts":{"enabled":true,"enabled":true}}`, "group_receipts.enabled: repeated"},
		{`{"group_receipts":null}`, "group_receipts: null"},
		{`{"group_receipts":{"max_group_size":null}}`, "group_receipts.max_group_size: null"},
		{`{"group_receipts":true}`, "group_receipts: not an object"},
		{`{"delivery_receipts":"true"}`, "delivery_receipts: neither true nor false"},
		{`{"group_receipts":{"enabled":1}}`, "group_receipts.enabled: neither true nor false"},
		{`{"group_receipts":{"who_may_request":1}}`, "group_receipts.who_may_request: not a string"},
		{`{"group_receipts":{"who_may_request":"owner"}}`, "group_receipts.who_may_request: neither members nor admins"},
		{`{"group_receipts":{"who_may_request":""}}`, "group_receipts.who_may_request: neither members nor admins"},
		{`{"group_receipts":{"visibility":"all"}}`, "group_receipts.visibility: neither sender nor members"},
		{`{"group_receipts":{"max_group_size":-1}}`, "group_receipts.max_group_size: negative"},
		{`{"group_receipts":{"max_group_size":1.5}}`, "group_receipts.max_group_size: not a whole number"},
		{`{"group_receipts":{"max_group_size":"5"}}`, "group_receipts.max_group_size: not a whole number"},
		{`{"group_receipts":{"max_group_size":99999999999999999999}}`, "group_receipts.max_group_size: not a whole number"},
		{`{"group_receipts":{"max_requests_per_group_per_day":-5}}`, "group_receipts.max_requests_per_group_per_day: negative"},
		{`{"group_receipts":{"above_limit":"names"}}`, "group_receipts.above_limit: none of nothing, counts"},
		{`{"receipt_time":"client"}`, "receipt_time: none of arrival, reported"},
		{`{"max_report_age":"59s"}`, "max_report_age: not from 1m to 168h"},
		{`{"max_report_age":"168h1ms"}`, "max_report_age: not from 1m to 168h"},
		{`{"invitation_validity":"999ms"}`, "invitation_validity: not from 1s to 2160h"},
		{`{"invitation_validity":"2160h1ms"}`, "invitation_validity: not from 1s to 2160h"},
		{`{"group_receipts":{"validity":"3d"}}`, `group_receipts.validity: not a duration like 72h: "3d"`},
		{`{"group_receipts":{"validity":"-1h"}}`, `group_receipts.validity: negative duration "-1h"`},
		{`{"group_receipts":{"validity":72}}`, `group_receipts.validity: not a duration like "72h"`},
		{`{"group_receipts":{"validity":["72h"]}}`, `group_receipts.validity: not a duration like "72h"`},
		{`{"group_receipts":{"validity":"1ns"}}`, `group_receipts.validity: not whole milliseconds: "1ns"`},
		{`{"group_receipts":{"validity":"+1h"}}`, `group_receipts.validity: not a duration like 72h: "+1h"`},
		{`{"group_receipts":{"validity":".5h"}}`, `group_receipts.validity: not a duration like 72h: ".5h"`},
		{`{"group_receipts":{"validity":"1.h"}}`, `group_receipts.validity: not a duration like 72h: "1.h"`},
		{`{"group_receipts":{"validity":"1.5ms"}}`, `group_receipts.validity: not whole milliseconds: "1.5ms"`},
		{`{"group_receipts":{"validity":"1.0001s"}}`, `group_receipts.validity: more than three decimals: "1.0001s"`},

		{`{"single_receipts":{"validity":"x"}}`, `single_receipts.validity: not a duration like 72h: "x"`},
		{`{"alerts":{}}`, "alerts: not an array"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h","read_percent_below":30,"below":1}]}`, "alerts.0.below: unknown field"},
		{`{"alerts":[{"by":"group","after":"1h","read_percent_below":30}]}`, "alerts.0.name: empty"},
		{`{"alerts":[{"name":"a","by":"app","after":"1h","read_percent_below":30}]}`, "alerts.0.by: none of group, sender, label"},
		{`{"alerts":[{"name":"a","by":"label","after":"1h","read_percent_below":30}]}`, "alerts.0.id: missing: only rules by group may be for each of them"},
		{`{"alerts":[{"name":"a","by":"group","id":"\u0007","after":"1h","read_percent_below":30}]}`, "alerts.0.id: control character U+0007"},
		{`{"alerts":[{"name":"a","by":"group","after":"90m","read_percent_below":30}]}`, "alerts.0.after: not whole hours, from 1h to 168h"},
		{`{"alerts":[{"name":"a","by":"group","read_percent_below":30}]}`, "alerts.0.after: not whole hours, from 1h to 168h"},
		{`{"alerts":[{"name":"a","by":"group","after":"169h","read_percent_below":30}]}`, "alerts.0.after: not whole hours, from 1h to 168h"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h","read_percent_below":101}]}`, "alerts.0.read_percent_below: not from 1 to 100"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h"}]}`, "alerts.0.read_percent_below: exactly one of read_percent_below and median_above is needed"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h","read_percent_below":30,"median_above":"1m"}]}`, "alerts.0.read_percent_below: exactly one of read_percent_below and median_above is needed"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h","median_above":"61m"}]}`, "alerts.0.median_above: not whole milliseconds, up to the value of after"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h","median_above":"1m","min_recipients":-1}]}`, "alerts.0.min_recipients: negative"},
		{`{"alerts":[{"name":"a","by":"group","after":"1h","median_above":"1m"},{"name":"a","by":"group","after":"2h","median_above":"1m"}]}`, "alerts.1.name: that of another rule"},
		{`{"single_receipts":{"validity":"1500us"}}`, `single_receipts.validity: not whole milliseconds: "1500us"`},
	} {
		_, err := ParseSettings(DefaultSettings(), []byte(test.body))
		if _, ok := errors.AsType[*FieldError](err); !ok || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.body, err, test.want)
		}
	}
}

func TestSettingsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, current := drawSettings(t), drawSettings(t)
		// The default of these is left out, so that it cannot be said to replace another value.
		current.GroupReceipts.AboveLimit, current.ReceiptTime, current.Alerts = AboveLimitNothing, ReceiptTimeArrival, nil
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSettings(current, text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\ngot  %+v, %v\nwant %+v", text, got, err, want)
		}
	})
}

// TestInvitationsWait: an invitation waits for a week unless the app says otherwise.
func TestInvitationsWait(t *testing.T) {
	for body, want := range map[string]Duration{
		`{}`:                            Duration(7 * 24 * time.Hour),
		`{"invitation_validity":"0"}`:   Duration(7 * 24 * time.Hour),
		`{"invitation_validity":"90m"}`: Duration(90 * time.Minute),
	} {
		s, err := ParseSettings(DefaultSettings(), []byte(body))
		if got := s.InvitationsWait(); err != nil || got != want {
			t.Errorf("%s: %v, %v", body, time.Duration(got), err)
		}
	}
}

// TestReportAge: reported times go back a day unless the app says otherwise, and not at all where
// they do not count.
func TestReportAge(t *testing.T) {
	for body, want := range map[string]Duration{
		`{}`:                          0,
		`{"max_report_age":"1m"}`:     0,
		`{"receipt_time":"reported"}`: Duration(24 * time.Hour),
		`{"receipt_time":"reported","max_report_age":"168h"}`: Duration(7 * 24 * time.Hour),
		`{"receipt_time":"reported","max_report_age":"0"}`:    Duration(24 * time.Hour),
	} {
		s, err := ParseSettings(DefaultSettings(), []byte(body))
		if got := s.ReportAge(); err != nil || got != want {
			t.Errorf("%s: %v, %v", body, time.Duration(got), err)
		}
	}
}

// TestRulesAreReplacedAsAWhole: a new list of alert rules takes nothing over from the old one, and
// leaves that one as it is.
func TestRulesAreReplacedAsAWhole(t *testing.T) {
	current := DefaultSettings()
	current.Alerts = []AlertRule{{Name: "old", By: AlertByLabel, ID: "spring", After: Duration(5 * time.Hour), ReadBelow: 40, MinRecipients: 9}}
	changed, err := ParseSettings(current, []byte(`{"alerts":[{"name":"new","by":"group","after":"24h","median_above":"90m"}]}`))
	want := []AlertRule{{Name: "new", After: Duration(24 * time.Hour), MedianAbove: Duration(90 * time.Minute)}}
	if err != nil || !reflect.DeepEqual(changed.Alerts, want) {
		t.Errorf("%+v, %v", changed.Alerts, err)
	}
	if current.Alerts[0].Name != "old" || current.Alerts[0].MinRecipients != 9 {
		t.Errorf("the rules in force became %+v", current.Alerts)
	}
	if kept, err := ParseSettings(current, []byte(`{"open_registration":true}`)); err != nil || !reflect.DeepEqual(kept.Alerts, current.Alerts) {
		t.Errorf("%+v, %v", kept.Alerts, err)
	}
	if none, err := ParseSettings(current, []byte(`{"alerts":[]}`)); err != nil || none.Alerts != nil {
		t.Errorf("%+v, %v", none.Alerts, err)
	}
	many := `{"alerts":[` + strings.TrimSuffix(strings.Repeat(`{},`, MaxAlertRules+1), ",") + `]}`
	if _, err := ParseSettings(current, []byte(many)); err == nil || err.Error() != "alerts: more than 32" {
		t.Errorf("%v", err)
	}
}

func TestDefaultSettingsAreValid(t *testing.T) {
	s := DefaultSettings()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if err := new(Settings).Validate(); err == nil {
		t.Error("the zero value is no settings, but valid")
	}
}
