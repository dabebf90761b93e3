package events

import (
	"errors"
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
		if err != nil || got != test.want {
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
		{`{"delivery_receipts":"true"}`, "delivery_receipts: not a boolean"},
		{`{"group_receipts":{"enabled":1}}`, "group_receipts.enabled: not a boolean"},
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
		current.GroupReceipts.AboveLimit, current.ReceiptTime = AboveLimitNothing, ReceiptTimeArrival
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSettings(current, text)
		if err != nil || got != want {
			t.Fatalf("%s:\ngot  %+v, %v\nwant %+v", text, got, err, want)
		}
	})
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

func TestDefaultSettingsAreValid(t *testing.T) {
	s := DefaultSettings()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	if err := new(Settings).Validate(); err == nil {
		t.Error("the zero value is no settings, but valid")
	}
}
