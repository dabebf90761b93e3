// Package progress shows how far a long job has come, how fast it goes and how long it will take:
// as a bar on a terminal, as a plain line now and then elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// How often a bar is drawn and a line is written.
const (
	barInterval  = 100 * time.Millisecond
	lineInterval = 5 * time.Second
)

// Options say what is counted.
type Options struct {
	// Label names the job, for example "replay".
	Label string
	// Unit is what is counted, in the plural, for example "events".
	Unit string
	// Total is how many there will be; 0 = not known.
	Total int64
	// Quiet shows nothing, for output that a program reads.
	Quiet bool
}

// Progress shows one job. Its methods may be called from several goroutines.
type Progress struct {
	done, total atomic.Int64
	display     display
	stop        chan struct{}
	stopped     sync.WaitGroup
	closed      sync.Once
}

// display is a way of showing progress. Its methods are called by one goroutine at a time.
type display interface {
	// show is called at every interval.
	show(done, total int64)
	// finish is called once, last.
	finish(done, total int64)
}

// New starts to show a job on w, usually os.Stderr. Close must be called.
func New(w io.Writer, o Options) *Progress {
	switch {
	case o.Quiet:
		return start(nil, 0, o.Total)
	case isTerminal(w):
		return start(newBar(w, o), barInterval, o.Total)
	}
	return start(newLines(w, o), lineInterval, o.Total)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func start(d display, interval time.Duration, total int64) *Progress {
	p := &Progress{display: d, stop: make(chan struct{})}
	p.total.Store(total)
	if d == nil {
		return p
	}
	p.stopped.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				d.show(p.done.Load(), p.total.Load())
			case <-p.stop:
				return
			}
		}
	})
	return p
}

// Add counts n more. It costs one atomic addition.
func (p *Progress) Add(n int64) { p.done.Add(n) }

// Set says how many are done, for a job that reports a position.
func (p *Progress) Set(done int64) { p.done.Store(done) }

// SetTotal says how many there will be, for a job whose end moves or is not known at the start.
func (p *Progress) SetTotal(n int64) { p.total.Store(n) }

// Close shows the end and waits until nothing is written any more. It may be called again.
func (p *Progress) Close() {
	p.closed.Do(func() {
		close(p.stop)
		p.stopped.Wait()
		if p.display != nil {
			p.display.finish(p.done.Load(), p.total.Load())
		}
	})
}

// Count formats a number for people: 950, 12.3k, 4.5M.
func Count(n float64) string {
	for _, unit := range []struct {
		size   float64
		suffix string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f%s", n/unit.size, unit.suffix)
		}
	}
	return fmt.Sprintf("%.0f", n)
}
