package eventlog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// Source has entries of a log elsewhere: a backup.
type Source interface {
	// Meta is the text of a stream's configuration, nil if the source has nothing of that stream.
	Meta(stream string) []byte
	// Bounds are the sequences between which it has what the stream had; zeros if it has nothing.
	Bounds(stream string) (first, last uint64)
	// Record returns the message with a sequence; ok is false if it has none. The record is valid
	// until the next call.
	Record(stream string, sequence uint64) (r blockfile.Record, ok bool, err error)
	// Records calls visit with all messages of a stream, in order.
	Records(ctx context.Context, stream string, visit func(blockfile.Record) error) error
}

// ErrForeignSource: what entries were to be taken from is of another log.
var ErrForeignSource = errors.New("eventlog: the backup is not of this log")

// bounds are the first and last sequence that the source has, zeros without a source.
func (r *repair) bounds(stream string) (first, last uint64) {
	if r.o.From == nil {
		return 0, 0
	}
	return r.o.From.Bounds(stream)
}

// agrees returns an error if the source has another history of a stream: another one was created,
// or lived, or has another entry at a position that is known.
func (r *repair) agrees(ctx context.Context, name string) error {
	if r.o.From == nil || r.o.From.Meta(name) == nil {
		return nil
	}
	foreign := func(what string) error { return fmt.Errorf("%w: stream %s: %s", ErrForeignSource, name, what) }
	theirs, err := blockfile.ParseMeta(r.o.From.Meta(name))
	if err != nil {
		return err
	}
	attested, known := r.attestations[name]
	if known && !attested.Created.Equal(theirs.Created) {
		return foreign("it was created at another time")
	}
	first, last := r.o.From.Bounds(name)
	if attested.Fingerprint != 0 && first <= attested.At && attested.At <= last {
		x, ok, err := r.o.From.Record(name, attested.At)
		if err != nil {
			return err
		}
		if !ok || fingerprintOf(&x) != attested.Fingerprint {
			return foreign(fmt.Sprintf("entry %d is another one", attested.At))
		}
	}
	s := blockfile.Stream{Dir: streamDir(r.dir, name), Name: name}
	ours, err := s.Meta()
	if err != nil { // there is nothing to compare
		return nil
	}
	if !ours.Created.Equal(theirs.Created) || ours.Metadata[metaLife] != theirs.Metadata[metaLife] {
		return foreign("it was made at another time, or restored since")
	}
	if partitionOf(name) < 0 {
		return nil
	}
	_, err = s.Scan(ctx, blockfile.Options{Visit: func(x blockfile.Record) error {
		if x.Gone || x.Sequence != first && x.Sequence != last {
			return nil
		}
		at, ours := x.Sequence, fingerprintOf(&x)
		y, ok, err := r.o.From.Record(name, at)
		if err == nil && (!ok || fingerprintOf(&y) != ours) {
			err = foreign(fmt.Sprintf("entry %d is another one", at))
		}
		return err
	}})
	return err
}

func fingerprintOf(r *blockfile.Record) uint64 {
	return Fingerprint(Entry{Sequence: r.Sequence, Time: time.Unix(0, r.Time), Data: r.Data})
}

// allMissing reports whether no partition is left.
func (r *repair) allMissing() bool {
	return !slices.ContainsFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Partition >= 0 })
}

// refill makes a stream that is gone again, with all that the source has of it.
func (r *repair) refill(ctx context.Context, s blockfile.Stream) (n uint64, err error) {
	w := streamWriter{attested: witness.Attestation{Stream: s.Name}}
	if w.stream, err = blockfile.Begin(s.Dir, s.Name, r.o.From.Meta(s.Name)); err != nil {
		return 0, err
	}
	err = r.o.From.Records(ctx, s.Name, func(x blockfile.Record) error {
		n++
		return w.add(x)
	})
	if err == nil {
		_, last := r.bounds(s.Name)
		err = w.finish(last)
	}
	return n, err
}

// remake makes the stream of a partition again, like another one's.
func (r *repair) remake(s blockfile.Stream, partition int, attested witness.Attestation) (blockfile.Stream, error) {
	i := slices.IndexFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Partition >= 0 })
	like := r.inspection.Streams[i]
	return blockfile.Make(s.Dir, s.Name, fmt.Sprintf("receiptd: events of partition %d", partition),
		[]string{events.PartitionSubjects(partition)}, attested.Created, blockfile.Stream{Dir: like.dir, Name: like.Stream})
}

// newLife has the log begin another life, since it is not the one that gave out positions.
func (r *repair) newLife(s blockfile.Stream, partition int) error {
	if partition < 0 {
		return nil
	}
	meta, err := s.MetaText()
	if err == nil {
		meta, err = blockfile.WithMetadata(meta, metaLife, newLife())
	}
	if err == nil {
		_, err = blockfile.Begin(s.Dir, s.Name, meta)
	}
	return err
}

// mend writes the blocks again without what is damaged, and with what the source has in its place.
func (r *repair) mend(s blockfile.Stream, partition int, attested witness.Attestation, done Repaired) (Repaired, error) {
	done.Aside = filepath.Join(r.dir, asideDir, "repair-"+r.at.Format("20060102T150405"), s.Name)
	meta, err := s.Meta()
	if err != nil {
		return done, err
	}
	done.What = "what is damaged is left out; the rest stays"
	if partition >= 0 {
		done.What = "in the place of each lost entry stands one that says so; the others stay as they were"
	}
	if _, last := r.bounds(s.Name); last > 0 {
		done.What = "what was damaged or missing is taken from the backup, as far as that reaches; the rest stays"
	}
	m := r.rewriteOf(s.Name, partition, attested)
	done.Lost, err = s.Mend(m.first, m.last, m.isSound, m.replacement, done.Aside)
	done.Restored += m.restored
	if err = errors.Join(err, m.failed); err != nil {
		return done, err
	}
	if partition < 0 {
		delete(r.attestations, s.Name)
		return done, nil
	}
	r.attestations[s.Name] = witness.Attestation{Stream: s.Name, Created: meta.Created.UTC(), Last: m.last, Trimmed: attested.Trimmed}
	return done, nil
}

// rewrite is what a stream's blocks are written again with.
type rewrite struct {
	r           *repair
	name        string
	partition   int
	first, last uint64
	fallback    blockfile.Replacement
	unsound     map[uint64]bool
	restored    uint64
	failed      error // of the source
}

func (r *repair) rewriteOf(name string, partition int, attested witness.Attestation) *rewrite {
	top := uint64(0)
	if i := slices.IndexFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Stream == name }); i >= 0 {
		top = r.inspection.Streams[i].Top
	}
	m := &rewrite{r: r, name: name, partition: partition, first: attested.Trimmed + 1, last: max(attested.Last, top), unsound: map[uint64]bool{}}
	m.fallback = r.leftOut(attested.Last)
	if partition >= 0 {
		m.fallback = r.lostRecord(partition)
	}
	return m
}

func (m *rewrite) isSound(x *blockfile.Record) bool {
	if checkSubject(x, m.partition) == nil {
		return true
	}
	m.unsound[x.Sequence] = true
	return false
}

// replacement is what comes in the place of a message: from the source, or what stands for it.
func (m *rewrite) replacement(sequence uint64) (blockfile.Record, bool) {
	if m.r.o.From != nil && (m.unsound[sequence] || m.r.isDamaged(m.name, sequence)) {
		x, ok, err := m.r.record(m.name, sequence)
		m.failed = errors.Join(m.failed, err)
		if ok {
			m.restored++
			return x, false
		}
	}
	return m.fallback(sequence)
}

// lostRecord says in the place of an entry that it is lost.
func (r *repair) lostRecord(partition int) blockfile.Replacement {
	subject, reason := []byte(events.LostSubject(partition)), "accepted by receiptctl repair at "+r.at.Format(time.RFC3339)
	return func(sequence uint64) (blockfile.Record, bool) {
		return blockfile.Record{Subject: subject, Data: r.lostData(partition, sequence, reason)}, true
	}
}

// leftOut leaves the places of what is lost beside the log empty, and notes up to where the stream
// counted: others know sequences of it.
func (r *repair) leftOut(last uint64) blockfile.Replacement {
	return func(sequence uint64) (blockfile.Record, bool) {
		if sequence == last {
			return blockfile.Record{Time: r.at.UnixNano(), Gone: true}, false
		}
		return blockfile.Record{}, false
	}
}

// isDamaged reports whether a message is one of those that a finding names: others that are not
// there have been deleted.
func (r *repair) isDamaged(stream string, sequence uint64) bool {
	return slices.ContainsFunc(r.inspection.Findings, func(f Finding) bool {
		return f.Fatal && f.Stream == stream && f.First <= sequence && sequence <= max(f.Last, f.First)
	})
}

func (r *repair) record(stream string, sequence uint64) (blockfile.Record, bool, error) {
	x, ok, err := r.o.From.Record(stream, sequence)
	if err != nil {
		return x, false, fmt.Errorf("entry %d of the backup: %w", sequence, err)
	}
	return x, ok, nil
}
