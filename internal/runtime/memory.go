package runtime

import (
	"os"
	"runtime/debug"

	"github.com/receiptd/receiptd/internal/config"
)

const (
	// gcPercent trades memory for processor time: the live heap is small beside the memory of
	// today's machines, and on few cores a collection competes with what answers.
	gcPercent = 300
	// heapLimit is the memory beside that for the cached state at which collections become more
	// frequent. With the cache's default a process stays below a gibibyte: what Go does not
	// count are the block cache and the memory tables of the state, some 100 MiB, and the
	// program's own pages, 55. A replay beside the live state would like more.
	heapLimit = 320 << 20
)

// TuneMemory sets the garbage collector for a server, unless the environment has set it (GOGC,
// GOMEMLIMIT). What else the process needs, in bytes, comes on top.
func TuneMemory(state config.State, beside int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		// Cached state takes more than it counts, and needs room to be collected in.
		debug.SetMemoryLimit(2*int64(state.CacheSize) + heapLimit + beside)
	}
}
