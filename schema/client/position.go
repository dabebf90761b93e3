package client

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The headers of positions and of the log that they are of.
const (
	positionHeader = "Receiptd-Position"
	logHeader      = "Receiptd-Log"
)

// position is up to where the log was seen: of each partition, the last sequence.
type position struct {
	mu   sync.Mutex
	log  string // its identity; empty if the server told none
	upto map[int]uint64
}

// note remembers what an answer tells.
func (p *position) note(h http.Header) {
	if text := h.Get(positionHeader); text != "" {
		if log := h.Get(logHeader); log != "" {
			text += "@" + log
		}
		_ = p.add(text) // what is no position tells nothing
	}
}

// add moves the position up. One of another log takes its place.
func (p *position) add(text string) error {
	list, log, _ := strings.Cut(text, "@")
	upto := map[int]uint64{}
	for item := range strings.SplitSeq(list, ",") {
		partition, sequence, _ := strings.Cut(item, ":")
		k, err := strconv.ParseUint(partition, 10, 31)
		if err != nil {
			return fmt.Errorf("client: %q is no position", text)
		}
		if upto[int(k)], err = strconv.ParseUint(sequence, 10, 63); err != nil {
			return fmt.Errorf("client: %q is no position", text)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.upto == nil || log != p.log {
		p.log, p.upto = log, map[int]uint64{}
	}
	for k, sequence := range upto {
		p.upto[k] = max(p.upto[k], sequence)
	}
	return nil
}

// raise notes positions of the log that is known.
func (p *position) raise(list []Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range list {
		// Others would be refused when they are told.
		if p.upto != nil && at.Partition >= 0 && at.Sequence >= 0 {
			p.upto[at.Partition] = max(p.upto[at.Partition], uint64(at.Sequence))
		}
	}
}

// text is the position with the log's identity behind an @.
func (p *position) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p.upto)) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d:%d", k, p.upto[k])
	}
	if p.log != "" && b.Len() > 0 {
		b.WriteString("@" + p.log)
	}
	return b.String()
}

func (p *position) set(h http.Header) {
	if text := p.text(); text != "" {
		h.Set(positionHeader, text)
	}
}

// forget reports whether there was a position to forget.
func (p *position) forget() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := len(p.upto) > 0
	p.log, p.upto = "", nil
	return was
}
