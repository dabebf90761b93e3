package events

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes itself as text like "72h" or "30m".
type Duration time.Duration

// MarshalText writes the shortest notation: "72h", not "72h0m0s".
func (d Duration) MarshalText() ([]byte, error) {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return []byte(s), nil
}

// UnmarshalText reads what [time.ParseDuration] reads; "0" is among it. Negative durations are
// refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("not a duration like 72h: %q", text)
	}
	if v < 0 {
		return fmt.Errorf("negative duration %q", text)
	}
	*d = Duration(v)
	return nil
}

// Milliseconds is the duration in whole milliseconds, the unit of the log's clock.
func (d Duration) Milliseconds() int64 { return time.Duration(d).Milliseconds() }
