package gateway

import "time"

// OrDefault sets a limit that is zero or negative to its default.
func OrDefault[T int | int64 | time.Duration](limit *T, value T) {
	if *limit <= 0 {
		*limit = value
	}
}
