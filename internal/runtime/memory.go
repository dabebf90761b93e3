package runtime

import (
	"os"
	"runtime/debug"
)

const (
	// gcPercent trades memory for processor time: the live heap is small beside the memory of today's machines, and
	// on few cores a collection competes with what answers.
	gcPercent = 300
	// memoryLimit makes collections more frequent when the heap comes near it.
	memoryLimit = 1 << 30
)

// TuneMemory sets the garbage collector for a server, unless the environment has set it (GOGC, GOMEMLIMIT).
func TuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
