package analytics

import (
	"encoding/json"
	"errors"
	"math/bits"
	"testing"
)

// A damaged note is never taken for another one.
func TestDamagedIntentIsRefused(t *testing.T) {
	text, err := formIntent(Intent{First: 7, Last: 1 << 40, Attempt: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseIntent([]byte(`{"first":7,"last":9,"attempt":1}` + "\n")); err != nil || got != (Intent{7, 9, 1}) {
		t.Errorf("a note of the first version: %+v, %v", got, err)
	}
	for i := range text {
		for bit := range bits.UintSize / 8 {
			damaged := append([]byte(nil), text...)
			damaged[i] ^= 1 << bit
			if got, err := parseIntent(damaged); !errors.Is(err, ErrIntentLost) {
				t.Errorf("bit %d of byte %d: %+v, %v", bit, i, got, err)
			}
		}
	}
	for n := 1; n < len(text); n++ {
		if got, err := parseIntent(text[:n]); err == nil && got != (Intent{7, 1 << 40, 2}) {
			t.Errorf("the first %d bytes: %+v", n, got)
		}
	}
}

// A range without an end would never be complete: nothing more would be sent to ClickHouse.
func TestIntentOfNoEntriesIsRefused(t *testing.T) {
	for _, i := range []Intent{{First: 7, Last: 3}, {Last: 3}, {First: 7}, {Attempt: 1}, {First: 1, Last: 1, Attempt: -1}} {
		text, err := formIntent(i)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseIntent(text); !errors.Is(err, ErrIntentLost) {
			t.Errorf("%+v is read as %+v, %v", i, got, err)
		}
	}
}

// FuzzSinkNote: whatever the bucket of the nodes has as the note of the node that filled
// ClickHouse last, it is refused, or is an intent that has an end and that is noted again as it is.
func FuzzSinkNote(f *testing.F) {
	for _, text := range []string{
		`{"first":7,"last":9,"attempt":2}`, `{"first":9,"last":7,"attempt":0}`, `{"first":7,"last":9,"attempt":-1}`,
		`{"first":0,"last":0,"attempt":0}`, `{"last":9}`, `null`, `{}`, `{"first":7,"last":18446744073709551615}`, `{"First":1,"last":1}`, `[7,9]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := ParseIntent(text)
		if err != nil {
			if !errors.Is(err, ErrIntentLost) || i != (Intent{}) {
				t.Fatalf("%+v, %v", i, err)
			}
			return
		}
		if i != (Intent{}) && (i.First < 1 || i.Last < i.First || i.Attempt < 0) {
			t.Errorf("%q is read as %+v", text, i)
		}
		note, err := json.Marshal(i) // as the node writes it
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseIntent(note); err != nil || again != i {
			t.Errorf("%+v is noted as %q, which is %+v, %v", i, note, again, err)
		}
	})
}

// Whatever bytes come, there is an intent or an error, and an intent can be written.
func FuzzIntent(f *testing.F) {
	text, err := formIntent(Intent{First: 7, Last: 9, Attempt: 2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"first":7,"last":9,"attempt":1}` + "\n"))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := parseIntent(text)
		if err != nil {
			if !errors.Is(err, ErrIntentLost) || i != (Intent{}) {
				t.Fatalf("%+v, %v", i, err)
			}
			return
		}
		again, err := formIntent(i)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseIntent(again); err != nil || got != i {
			t.Fatalf("%+v is read as %+v, %v", i, got, err)
		}
	})
}
