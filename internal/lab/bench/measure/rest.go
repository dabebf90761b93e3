package measure

import (
	"context"
	"time"
)

const (
	restWithin = time.Minute
	restStep   = time.Second
	// restingCPU is the fraction of a processor that a server at rest may use.
	restingCPU = 0.1
)

// Rest waits until a server is at rest, for a minute at most: until it has compacted what it was
// loaded with, so that work left over from one phase is not measured with the next. It judges by
// the server's processor time, which cpu returns in seconds.
func Rest(ctx context.Context, cpu func() (float64, error)) error {
	before, err := cpu()
	for deadline := time.Now().Add(restWithin); err == nil && time.Now().Before(deadline); {
		select {
		case <-time.After(restStep):
		case <-ctx.Done():
			return ctx.Err()
		}
		var after float64
		if after, err = cpu(); after-before < restingCPU*restStep.Seconds() {
			return err
		}
		before = after
	}
	return err
}
