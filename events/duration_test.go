package events

import (
	"testing"
	"time"
)

func TestDurationIsWrittenShort(t *testing.T) {
	for _, test := range []struct {
		d    time.Duration
		want string
	}{
		{72 * time.Hour, "72h"},
		{100 * time.Hour, "100h"},
		{30 * time.Minute, "30m"},
		{90 * time.Minute, "1h30m"},
		{time.Hour + 10*time.Minute, "1h10m"},
		{time.Hour + time.Second, "1h0m1s"},
		{10 * time.Second, "10s"},
		{1500 * time.Millisecond, "1.5s"},
		{0, "0s"},
	} {
		text, err := Duration(test.d).MarshalText()
		if err != nil || string(text) != test.want {
			t.Errorf("%s is written %q, %v; want %q", test.d, text, err, test.want)
		}
		var back Duration
		if err := back.UnmarshalText(text); err != nil || time.Duration(back) != test.d {
			t.Errorf("%q is read as %s, %v", text, time.Duration(back), err)
		}
	}
}
