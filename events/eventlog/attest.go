package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

const (
	// attestEvery is how far the witness is behind what was acknowledged, at most, while the log is
	// written to. A sync each time, on no path of an acknowledgement.
	attestEvery = 50 * time.Millisecond
	// attestFully is how often the server is asked what it holds, for what came in by another way
	// than the log's publishers, and for the fingerprints, which cost the reading of an entry.
	attestFully = time.Second
	// attestUnsynced is after which time an entry is on the disk for certain, where the server
	// syncs at intervals: what power loss may take is not attested.
	attestUnsynced = 3 * embeddedSyncPeriod
)

// attester keeps the witness of an embedded log.
type attester struct {
	log  *Log
	js   jetstream.JetStream
	file *witness.File

	mu      sync.Mutex // over what follows
	trimmed map[string]uint64
	trees   map[string]merkle.Head // latest heads
	// waiting are attestations of entries that may not be on the disk yet, oldest first.
	waiting []datedAttestations
	lag     time.Duration
	// trimmedAt is when entries left a stream on purpose last.
	trimmedAt map[string]time.Time

	presence presence
	links    blockLinks
}

type datedAttestations struct {
	at           time.Time
	attestations witness.Attestations
}

// startAttesting begins the witness, with what the log holds now.
func (l *Log) startAttesting(ctx context.Context, js jetstream.JetStream) error {
	file, err := witness.Open(l.cfg.witnessDir())
	if err != nil {
		return err
	}
	a := &attester{
		log: l, js: js, file: file, trimmed: map[string]uint64{}, trimmedAt: map[string]time.Time{}, trees: map[string]merkle.Head{},
		links: blockLinks{dir: l.cfg.Dir, noted: map[string]noted{}},
	}
	if l.cfg.Fsync != FsyncAlways {
		a.lag = attestUnsynced
	}
	for stream, m := range file.Attestations() {
		a.trimmed[stream], a.trees[stream] = m.Trimmed, m.Tree
	}
	l.attester = a
	attestations, err := a.collect(ctx)
	if err == nil {
		err = a.write(attestations)
	}
	if err == nil {
		err = a.links.forget(attestations)
	}
	if err == nil && !hasWitnessed(l.cfg.Dir) {
		err = atomicfile.Write(filepath.Join(l.cfg.Dir, witnessedFile), nil, 0o600)
	}
	if err != nil {
		return fmt.Errorf("begin the witness: %w", err)
	}
	var streams []string
	for k := range l.streams {
		streams = append(streams, streamName(k))
	}
	a.presence.watch(l.cfg.Dir, streams)
	l.attesting.Go(a.run)
	return nil
}

// run attests until the log stops.
func (a *attester) run() {
	tick := time.NewTicker(attestEvery)
	defer tick.Stop()
	sent, asked, settled := a.log.sentBeside(), time.Now(), true
	for {
		select {
		case <-tick.C:
		case <-a.log.stopping.Done():
			return
		}
		if err := a.presence.look(a.lately); errors.Is(err, errFilesGone) {
			a.log.fail(err)
			return
		} else if err != nil {
			a.log.logger.Warn("a new file of the log may not be on the disk; trying again", slog.Any("error", err))
			continue // its entries are not attested
		}
		collect := a.acknowledged
		// What was sent a moment ago may not be done yet: it is looked at once more.
		if now := a.log.sentBeside(); now != sent || !settled || time.Since(asked) >= attestFully {
			collect, sent, asked, settled = a.collect, now, time.Now(), now == sent
		}
		if err := a.attest(a.log.stopping, collect); err != nil && a.log.stopping.Err() == nil {
			a.log.logger.Warn("the witness of the log was not written; trying again", slog.Any("error", err))
		}
	}
}

// sentBeside counts what was sent by the connections for the streams that lie beside the log.
func (l *Log) sentBeside() (n uint64) {
	l.submits.RLock()
	defer l.submits.RUnlock()
	for _, c := range l.others {
		n += c.nc.Stats().OutMsgs
	}
	return n
}

// attest writes what the log holds, or held when all of that was certainly on the disk.
func (a *attester) attest(ctx context.Context, collect func(context.Context) (witness.Attestations, error)) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	attestations, err := collect(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.forgetLocked(a.file.Attestations(), attestations)
	if a.lag == 0 {
		return a.writeLocked(attestations)
	}
	a.waiting = append(a.waiting, datedAttestations{at: time.Now(), attestations: attestations})
	var due witness.Attestations
	for len(a.waiting) > 0 && time.Since(a.waiting[0].at) >= a.lag {
		due, a.waiting = a.waiting[0].attestations, a.waiting[1:]
	}
	if due == nil {
		return nil
	}
	return a.writeLocked(due)
}

// forgetLocked lets go of the blocks that no attestations have any more, if others have come.
func (a *attester) forgetLocked(before, collected witness.Attestations) {
	written := a.file.Attestations()
	for stream, m := range before {
		if written[stream].Blocks == m.Blocks {
			continue
		}
		held := []witness.Attestations{written, collected}
		for _, w := range a.waiting {
			held = append(held, w.attestations)
		}
		if err := a.links.forget(held...); err != nil {
			a.log.logger.Warn("a hard link of a block was not removed", slog.Any("error", err))
		}
		return
	}
}

func (a *attester) write(attestations witness.Attestations) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writeLocked(attestations)
}

// writeLocked writes attestations, with what was trimmed since they were collected and with the
// heads of the trees up to them.
func (a *attester) writeLocked(attestations witness.Attestations) error {
	for stream, m := range attestations {
		m.Trimmed = max(m.Trimmed, a.trimmed[stream])
		if tree := a.trees[stream]; tree.Position() <= m.Last {
			m.Tree = tree
		}
		attestations[stream] = m
	}
	return a.file.Write(attestations)
}

// acknowledged is what the witness says already, and what the publishers stored since.
func (a *attester) acknowledged(context.Context) (witness.Attestations, error) {
	attestations := a.latest()
	for _, p := range a.log.publishers {
		name := streamName(p.partition)
		if m, ok := attestations[name]; ok {
			m.Last = max(m.Last, p.stats.last.Load())
			attestations[name] = m
		}
	}
	return attestations, nil
}

// latest are the attestations that were collected last, written or waiting.
func (a *attester) latest() witness.Attestations {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.waiting); n > 0 {
		return maps.Clone(a.waiting[n-1].attestations)
	}
	return a.file.Attestations()
}

// collect asks the server what it holds.
func (a *attester) collect(ctx context.Context) (witness.Attestations, error) {
	before := a.latest()
	attestations := witness.Attestations{}
	list := a.js.ListStreams(ctx)
	for info := range list.Info() {
		name, s := info.Config.Name, &info.State
		m := witness.Attestation{Stream: name, Created: info.Created.UTC(), Last: s.LastSeq}
		old, known := before[name]
		if old.Created.Equal(m.Created) {
			m.Tree, m.Trimmed = old.Tree, old.Trimmed
		}
		switch {
		case !known && s.FirstSeq > 0:
			// What a log held before it had a witness, or a partition before it forked.
			m.Trimmed = s.FirstSeq - 1
		case known && old.Created.Equal(m.Created) && old.At == m.Last:
			m.At, m.Fingerprint = old.At, old.Fingerprint
		}
		if partitionOf(name) >= 0 && m.Fingerprint == 0 && s.Msgs > 0 {
			var err error
			m.At = m.Last
			if m.Fingerprint, err = a.fingerprint(ctx, name, m.At); err != nil {
				return nil, err
			}
		}
		if hasBlocks(name) {
			var err error
			if m.Blocks, err = a.links.note(name); err != nil {
				return nil, err
			}
		}
		attestations[name] = m
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	return attestations, nil
}

func (a *attester) fingerprint(ctx context.Context, stream string, sequence uint64) (uint64, error) {
	partition := partitionOf(stream)
	if partition >= len(a.log.streams) {
		return 0, nil
	}
	m, err := a.log.streams[partition].GetMsg(ctx, sequence)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // trimmed meanwhile
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read entry %d of %s: %w", sequence, stream, err)
	}
	return Fingerprint(Entry{Sequence: m.Sequence, Time: m.Time, Data: m.Data}), nil
}

// lately reports whether entries left a stream on purpose a short time ago.
func (a *attester) lately(stream string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.trimmedAt[stream]) < trimmedLately
}

// trimming has the witness know that entries leave a partition on purpose, before they do.
func (a *attester) trimming(partition int, upto uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	stream := streamName(partition)
	a.trimmed[stream] = max(a.trimmed[stream], upto)
	a.trimmedAt[stream] = time.Now()
	return a.writeLocked(a.file.Attestations())
}

// AttestTree has the witness hold a head of a partition's tree. It does nothing for a log in an
// outside NATS, which has no witness.
func (l *Log) AttestTree(partition int, head merkle.Head) {
	if a := l.attester; a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.trees[streamName(partition)] = head
	}
}

// Attested is the last entry of a partition that is certainly on the disk, and the head of its tree
// that the witness holds, zero if it holds none. Of a log in an outside NATS, whose replicas answer
// for what they acknowledged, every entry counts as being there.
func (l *Log) Attested(partition int) (last uint64, tree merkle.Head) {
	a := l.attester
	if a == nil {
		return math.MaxUint64, merkle.Head{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.file.Attestations()[streamName(partition)]
	return m.Last, m.Tree
}

// finish attests what the log holds when nothing is stored any more. Closed in good order, the
// server syncs it all.
func (a *attester) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	attestations, err := a.collect(ctx)
	if err != nil || a.lag != 0 {
		return // the attestations there are stay true
	}
	if err := a.write(attestations); err != nil {
		a.log.logger.Warn("the witness of the log was not written at the end", slog.Any("error", err))
	}
}
