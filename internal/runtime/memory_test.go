package runtime

import (
	"log/slog"
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
		{0, 256, 256, 832, 64 * mib},
		{0, 1024, 1024, 2368, 64 * mib},
		{4096, 256, 256, 832, 64 * mib},
		{1024, 256, 256, 780, 64 * mib},
		{512, 256, 28, 351, 32 * mib},
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
