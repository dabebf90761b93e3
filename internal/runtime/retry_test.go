package runtime

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A start that waits says for what: at once, and then now and again.
func TestStartSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*retrySayEvery+time.Second)
		defer cancel()
		var said bytes.Buffer
		nobody := errors.New("nobody leads the stream")
		err := retry(ctx, slog.New(slog.NewTextHandler(&said, nil)), func(context.Context) error { return nobody })
		if !errors.Is(err, nobody) {
			t.Errorf("in the end: %v", err)
		}
		if n := strings.Count(said.String(), nobody.Error()); n != 3 {
			t.Errorf("said %d times in %s: %s", n, 2*retrySayEvery, &said)
		}
	})
}
