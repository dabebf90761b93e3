package runtime

import (
	"log/slog"
	"math"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
)

// The process keeps to what its container has: what Go may use, what it does not count and what
// waits at the gate fit together, and the cache gives way.
func TestMemoryFitsTheContainer(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		container, cache, wantCache, wantHeap int64
		intake                                config.Bytes
	}{
		{0, 256, 256, 704, 64 * mib},
		{0, 1024, 1024, 1856, 64 * mib},
		{4096, 256, 256, 704, 64 * mib},
		{1024, 256, 256, 704, 64 * mib},
		{512, 256, 36, 349, 32 * mib},
		{256, 256, 8, 113, 32 * mib}, // less than it takes
	} {
		cfg := config.Default()
		cfg.State.CacheSize = config.Bytes(c.cache * mib)
		cfg = fitMemory(cfg, c.container*mib, slog.New(slog.DiscardHandler))
		cache := int64(cfg.State.CacheSize)
		heap := memoryLimit(cache, 0, c.container*mib)
		if cache/mib != c.wantCache || heap/mib != c.wantHeap || cfg.Intake.Memory != c.intake {
			t.Errorf("%+v: a cache of %d MiB, %d MiB for Go, %s for intake", c, cache/mib, heap/mib, cfg.Intake.Memory)
		}
		if c.container >= 512 && heap+outside(cache) > c.container*mib {
			t.Errorf("%+v: %d MiB in all", c, (heap+outside(cache))/mib)
		}
	}
}

// Who gives Go less than the cache would need gets a smaller cache, and who gives it more the one
// that is set.
func TestMemoryFitsGOMEMLIMIT(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ container, goLimit, wantCache int64 }{
		{0, math.MaxInt64, 256}, {0, 8192 * mib, 256}, {0, 704 * mib, 256}, {0, 520 * mib, 133},
		{0, 100 * mib, 8}, {512 * mib, 8192 * mib, 36}, {8192 * mib, 520 * mib, 133},
	} {
		cfg := fitMemory(config.Default(), processLimit(c.container, c.goLimit), slog.New(slog.DiscardHandler))
		if got := int64(cfg.State.CacheSize) / mib; got != c.wantCache {
			t.Errorf("%+v: a cache of %d MiB", c, got)
		}
	}
}
