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

// UnmarshalText reads numbers with units, such as "72h", "1h30m", "1.5s" or "100ms", and "0". It is
// stricter than [time.ParseDuration]: without a sign, and with no more decimals than make whole
// milliseconds, which is what the log's clock counts.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("not a duration like 72h: %q", text)
	}
	if v < 0 {
		return fmt.Errorf("negative duration %q", text)
	}
	if problem := durationProblem(string(text)); problem != "" {
		return fmt.Errorf("%s: %q", problem, text)
	}
	*d = Duration(v)
	return nil
}

// durationProblem says why a text that time.ParseDuration reads is none of ours; empty if it is.
func durationProblem(s string) string {
	if s == "0" {
		return ""
	}
	for s != "" {
		whole := strings.TrimLeft(s, "0123456789")
		if len(whole) == len(s) {
			return "not a duration like 72h"
		}
		rest, decimals := whole, 0
		if after, ok := strings.CutPrefix(whole, "."); ok {
			rest = strings.TrimLeft(after, "0123456789")
			if decimals = len(after) - len(rest); decimals == 0 {
				return "not a duration like 72h"
			}
		}
		unit := strings.IndexAny(rest, "0123456789")
		if unit < 0 {
			unit = len(rest)
		}
		switch name := rest[:unit]; {
		case name == "h" || name == "m" || name == "s":
			if decimals > 3 {
				return "more than three decimals"
			}
		case name != "ms" || decimals > 0:
			return "not whole milliseconds"
		}
		s = rest[unit:]
	}
	return ""
}

// Milliseconds is the duration in whole milliseconds, the unit of the log's clock.
func (d Duration) Milliseconds() int64 { return time.Duration(d).Milliseconds() }
