package runtime

import (
	"fmt"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
)

const (
	// minOpenFiles are enough for the log, the state and some thousand connections.
	minOpenFiles = 4096
	// clockTolerance is between the broker's clock and this one.
	clockTolerance = 5 * time.Second
)

// configuration finds what a start would refuse of the settings and of the files that they name.
func (x *Examination) configuration(cfg config.Config, problems config.Problems) {
	wrong := func(what string) { x.add(eventlog.Finding{Code: foundConfig, Fatal: true, What: what}) }
	for _, p := range problems {
		wrong(p.Error())
	}
	if len(problems) > 0 {
		return // what the others name need not be what is meant
	}
	if _, err := newIngress(cfg.Log); err != nil {
		wrong(err.Error())
	}
	if _, err := newPeerTLS(cfg.Cluster); err != nil {
		wrong(err.Error())
	}
}

// machine compares what the server needs with what it would get here.
func (x *Examination) machine(cfg config.Config) {
	x.disk(cfg)
	if files, known := openFilesLimit(); known {
		x.files(cfg, files)
	}
	x.memory(cfg, memoryHere())
	for _, s := range x.Streams {
		if last := s.LastTime; time.Until(last) > clockTolerance {
			x.add(eventlog.Finding{Code: foundClock, Stream: s.Stream, First: s.Last, What: "the last entry is of " + last.UTC().Format(time.RFC3339) + ", which is to come"})
		}
	}
}

// disk compares what is free with the reserve, which is the embedded log's.
func (x *Examination) disk(cfg config.Config) {
	if len(cfg.Log.NATS) > 0 {
		return
	}
	if free, err := eventlog.FreeSpace(cfg.Data); err == nil && free < int64(cfg.Log.MinFree)+roomToWrite {
		x.add(eventlog.Finding{Code: foundDisk, Fatal: true, What: fmt.Sprintf(
			"%d MiB are free, %d MiB are kept in reserve (--min-free)", free>>20, int64(cfg.Log.MinFree)>>20)})
	}
}

// files looks at the limit of this process, which is the server's only where both are started in
// the same way. The default of --max-connections is no number that somebody wants.
func (x *Examination) files(cfg config.Config, files uint64) {
	partitions := 0
	for _, s := range x.Streams {
		if s.Partition >= 0 {
			partitions++
		}
	}
	what := ""
	if files < minOpenFiles {
		what = fmt.Sprintf("%d files may be open, %d are wanted", files, minOpenFiles)
	} else if most, wanted := connectionsFor(files, partitions), cfg.SDK.MaxConnections; most < wanted && wanted != config.Default().SDK.MaxConnections {
		what = fmt.Sprintf("%d files may be open, which leaves room for %d connections; --max-connections allows %d", files, most, wanted)
	}
	if what != "" {
		x.add(eventlog.Finding{Code: foundFiles, What: what + " (the limit of this shell, not of a service)"})
	}
}

// memoryHere is how much memory a process may have here, by its cgroup or else the machine; 0 if
// that is not known.
func memoryHere() int64 {
	if limit := containerLimit(); limit > 0 {
		return limit
	}
	total, err := memlimit.FromSystem()
	if err != nil {
		return 0
	}
	return int64(total)
}

// memory compares what the cache that is set takes with what a process may have.
func (x *Examination) memory(cfg config.Config, limit int64) {
	cache := int64(cfg.State.CacheSize)
	if limit == 0 || heapOf(cache)+outside(cache) <= limit {
		return
	}
	what := fmt.Sprintf("a process may have %d MiB here, with --cache-size %s it wants %d MiB", limit>>20, cfg.State.CacheSize, (heapOf(cache)+outside(cache))>>20)
	if least := heapOf(leastCache) + outside(leastCache); least > limit {
		what += fmt.Sprintf(", and with the smallest one %d MiB", least>>20)
	}
	x.add(eventlog.Finding{Code: foundMemory, What: what})
}
