package runtime

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"

	"golang.org/x/time/rate"
)

const (
	// sparingLines with the same message are logged at once, and then one in a second.
	sparingLines = 20
	// sparingKinds bounds the messages that are told apart; there are fewer.
	sparingKinds = 512
)

// sparingLog passes on so many lines of each message. It is for the edges, where clients decide
// how often something happens: whoever makes the same thing fail without end does not fill the disk
// with lines about it, nor keep others from being seen. What was not passed on is counted in the
// next line with that message. Debugging is told everything.
type sparingLog struct {
	slog.Handler
	seed  maphash.Seed
	kinds *[sparingKinds]sparingKind // by the hash of the message
}

type sparingKind struct {
	mu     sync.Mutex
	lines  *rate.Limiter // nil before the first
	silent int           // lines that were not passed on since the last that was
}

func newSparingLog(logger *slog.Logger) *slog.Logger {
	return slog.New(&sparingLog{logger.Handler(), maphash.MakeSeed(), new([sparingKinds]sparingKind)})
}

// Handle implements [slog.Handler].
func (l *sparingLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		silent, ok := l.kinds[maphash.String(l.seed, r.Message)%sparingKinds].pass()
		if !ok {
			return nil
		}
		if silent > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("not_logged_before", silent))
		}
	}
	return l.Handler.Handle(ctx, r)
}

func (k *sparingKind) pass() (silent int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lines == nil {
		k.lines = rate.NewLimiter(1, sparingLines)
	}
	if !k.lines.Allow() {
		k.silent++
		return 0, false
	}
	silent, k.silent = k.silent, 0
	return silent, true
}

// WithAttrs implements [slog.Handler].
func (l *sparingLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &sparingLog{l.Handler.WithAttrs(attrs), l.seed, l.kinds}
}

// WithGroup implements [slog.Handler].
func (l *sparingLog) WithGroup(name string) slog.Handler {
	return &sparingLog{l.Handler.WithGroup(name), l.seed, l.kinds}
}
