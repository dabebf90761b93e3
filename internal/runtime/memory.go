package runtime

import (
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/receiptd/receiptd/internal/config"
)

const (
	// gcPercent trades memory for processor time: the live heap is small beside the memory of
	// today's machines, and on few cores a collection competes with what answers.
	gcPercent = 300
	// heapLimit is the memory beside that for the cached state at which collections become more
	// frequent. What Go does not count comes on top: see outside. A replay beside the live state
	// would like more.
	heapLimit = 320 << 20
	// outsideHeap is what Go's memory limit does not know of, beside the block cache: the memory
	// tables of the state and the program's own pages.
	outsideHeap = 128 << 20
	// leastCache is how small the cache of the state is made for a small container.
	leastCache = 8 << 20
)

// heapOf is the limit for Go's memory that goes with a cache: three quarters of the cache are what
// the folds keep, the filters of large states take up to three eighths of it, and as much is left
// for those of a replay, which shares the rest with the live state. All of it needs room to be
// collected in.
func heapOf(cache int64) int64 { return cache + cache/2 + heapLimit }

// outside is the memory that the process needs beside Go's heap. A quarter of the cache holds
// Pebble's blocks, which are there.
func outside(cache int64) int64 { return cache/4 + outsideHeap }

// containerLimit is how much memory the process may have by its cgroup, of version 1 or 2; 0 if
// there is no limit.
func containerLimit() int64 {
	limit, err := memlimit.FromCgroup()
	const none = 1 << 50 // what version 1 says without a limit is more
	if err != nil || limit > none {
		return 0
	}
	return int64(limit)
}

// processLimit is how much memory the process may have by its cgroup, or by what GOMEMLIMIT leaves
// to Go and what comes on top of that, whichever is less; 0 if there is no limit.
func processLimit(container, goLimit int64) int64 {
	if goLimit == math.MaxInt64 {
		return container
	}
	byGo := goLimit + max(0, goLimit-heapLimit)/6 + outsideHeap
	if container == 0 {
		return byGo
	}
	return min(container, byGo)
}

// FitMemory makes the cache of the state and the memory for intake smaller if the process may not
// have as much memory, by its cgroup or GOMEMLIMIT, as they would need. It is called before
// [TuneMemory].
func FitMemory(cfg config.Config, logger *slog.Logger) config.Config {
	return fitMemory(cfg, processLimit(containerLimit(), debug.SetMemoryLimit(-1)), logger)
}

func fitMemory(cfg config.Config, limit int64, logger *slog.Logger) config.Config {
	if limit == 0 {
		return cfg
	}
	least := 4 * cfg.HTTP.MaxBody
	cfg.Intake.Memory = max(least, min(cfg.Intake.Memory, config.Bytes(limit/16)))
	cache := int64(cfg.State.CacheSize)
	if heapOf(cache)+outside(cache) <= limit {
		return cfg
	}
	fits := max(leastCache, (limit-heapOf(0)-outside(0))*4/7) // one and three quarters of the cache
	if fits >= cache {
		return cfg
	}
	cfg.State.CacheSize = config.Bytes(fits)
	logger.Warn("there is too little memory, by cgroup or GOMEMLIMIT, for the cache that is set; a smaller one is used, and more is read from the disk",
		"limit", config.Bytes(limit), "cache_size", config.Bytes(cache), "used", cfg.State.CacheSize)
	return cfg
}

// TuneMemory sets the garbage collector for a server, unless the environment has set it (GOGC,
// GOMEMLIMIT). What else the process needs, in bytes, comes on top. In a cgroup with a limit, Go
// keeps to what that leaves.
func TuneMemory(state config.State, beside int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(int64(state.CacheSize), beside, containerLimit()))
	}
}

func memoryLimit(cache, beside, container int64) int64 {
	limit := heapOf(cache) + beside
	if container == 0 {
		return limit
	}
	// A part is left to sockets and the cache of files, which the cgroup counts, too.
	return max(leastCache*8, min(limit, container-container/20-outside(cache)))
}
