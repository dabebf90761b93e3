package analytics

import (
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
			if got, err := parseIntent(damaged); !errors.Is(err, errIntentDamaged) {
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
			if !errors.Is(err, errIntentDamaged) || i != (Intent{}) {
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
