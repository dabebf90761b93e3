package events

import (
	"errors"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
)

// FuzzSettings: whatever body comes, it is refused by the name of a field, or gives settings that
// are valid and that their own JSON gives again, whatever they are put upon.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"group_receipts":{"enabled":true,"validity":"72h","who_may_request":"admins"},"open_registration":true}`))
	f.Add([]byte(`{"single_receipts":{"validity":"1.5s"},"group_receipts":{"validity":null}}`))
	f.Add([]byte(`{"alerts":[{"name":"slow","by":"group","after":"24h","median_above":"90m"},{"name":"b","by":"label","id":"x","after":"1h","read_percent_below":30}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseSettings(DefaultSettings(), body)
		if err != nil {
			if _, named := errors.AsType[*FieldError](err); !named {
				t.Errorf("%q: %v names no field", body, err)
			}
			return
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%q: accepted, and %v", body, err)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		other := DefaultSettings()
		other.GroupReceipts.Enabled, other.GroupReceipts.MaxGroupSize = !got.GroupReceipts.Enabled, 77
		if again, err := ParseSettings(other, text); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%q is %s, which is read as %+v, %v", body, text, again, err)
		}
	})
}
