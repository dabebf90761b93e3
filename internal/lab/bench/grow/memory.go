package grow

import (
	"context"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// Memory is what the server uses with all receipts in its state, in MiB.
type Memory struct {
	// Peak is the most that was ever resident, Resident what is resident now: Anonymous, most
	// of which is the heap, and File, pages of the program.
	Peak      float64 `json:"peak_mib"`
	Resident  float64 `json:"resident_mib"`
	Anonymous float64 `json:"anonymous_mib"`
	File      float64 `json:"file_mib"`
	// Heap is the part of its memory that Go uses, HeapIdle what it keeps for later, and Stacks
	// the stacks of goroutines.
	Heap     float64 `json:"go_heap_mib"`
	HeapIdle float64 `json:"go_heap_idle_mib"`
	Stacks   float64 `json:"go_stacks_mib"`
	// Cache is the cached state of the folds, a part of the heap.
	Cache float64 `json:"fold_cache_mib"`
}

// memory reads the figures from the system and from the server.
func (r *run) memory(ctx context.Context) error {
	of, err := measure.MemoryOf(r.server.PID())
	if err != nil {
		return err
	}
	metrics, err := r.server.Metrics(ctx)
	if err != nil {
		return err
	}
	mib := func(name string) float64 { return metrics[name] / (1 << 20) }
	r.result.Memory = Memory{
		Peak: of.Peak, Resident: of.Resident, Anonymous: of.Anonymous, File: of.File,
		Heap: mib("go_memstats_heap_inuse_bytes"), HeapIdle: mib("go_memstats_heap_idle_bytes") - mib("go_memstats_heap_released_bytes"),
		Stacks: mib("go_memstats_stack_inuse_bytes"), Cache: mib("receiptd_fold_cache_bytes"),
	}
	return nil
}
