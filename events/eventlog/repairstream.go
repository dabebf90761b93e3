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

// bounds are those of the source, zeros without one.
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
	mark, marked := r.marks[name]
	if marked && !mark.Created.Equal(theirs.Created) {
		return foreign("it was created at another time")
	}
	first, last := r.o.From.Bounds(name)
	if mark.Fingerprint != 0 && first <= mark.At && mark.At <= last {
		x, ok, err := r.o.From.Record(name, mark.At)
		if err != nil {
			return err
		}
		if !ok || fingerprintOf(&x) != mark.Fingerprint {
			return foreign(fmt.Sprintf("entry %d is another one", mark.At))
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
	w := streamWriter{mark: witness.Mark{Stream: s.Name}}
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
func (r *repair) remake(s blockfile.Stream, partition int, mark witness.Mark) (blockfile.Stream, error) {
	i := slices.IndexFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Partition >= 0 })
	like := r.inspection.Streams[i]
	return blockfile.Make(s.Dir, s.Name, fmt.Sprintf("receiptd: events of partition %d", partition),
		[]string{events.PartitionSubjects(partition)}, mark.Created, blockfile.Stream{Dir: like.dir, Name: like.Stream})
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
func (r *repair) mend(s blockfile.Stream, partition int, mark witness.Mark, done Repaired) (Repaired, error) {
	done.Aside = filepath.Join(r.dir, asideDir, "repair-"+r.at.Format("20060102T150405"), s.Name)
	meta, err := s.Meta()
	if err != nil {
		return done, err
	}
	files := StreamFiles{}
	if i := slices.IndexFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Stream == s.Name }); i >= 0 {
		files = r.inspection.Streams[i]
	}
	done.What = "what is damaged is left out; the rest stays"
	stand := r.besides(mark.Last)
	if partition >= 0 {
		done.What = "in the place of each lost entry stands one that says so; the others stay as they were"
		stand = r.standing(partition)
	}
	if _, last := r.bounds(s.Name); last > 0 {
		done.What = "what was damaged or missing is taken from the backup, as far as that reaches; the rest stays"
	}
	var failed error
	first, last := mark.Trimmed+1, max(mark.Last, files.Top)
	unsound := map[uint64]bool{}
	sound := func(x *blockfile.Record) bool {
		if checkSubject(x, partition) == nil {
			return true
		}
		unsound[x.Sequence] = true
		return false
	}
	done.Lost, err = s.Mend(first, last, sound, func(sequence uint64) (blockfile.Record, bool) {
		if r.o.From != nil && (unsound[sequence] || r.isDamaged(s.Name, sequence)) {
			x, ok, err := r.record(s.Name, sequence)
			failed = errors.Join(failed, err)
			if ok {
				done.Restored++
				return x, false
			}
		}
		return stand(sequence)
	}, done.Aside)
	if err = errors.Join(err, failed); err != nil {
		return done, err
	}
	if partition < 0 {
		delete(r.marks, s.Name)
		return done, nil
	}
	r.marks[s.Name] = witness.Mark{Stream: s.Name, Created: meta.Created.UTC(), Last: last, Trimmed: mark.Trimmed}
	return done, nil
}

// standing says in the place of an entry that it is lost.
func (r *repair) standing(partition int) blockfile.Stand {
	subject, reason := []byte(events.LostSubject(partition)), "accepted by receiptctl repair at "+r.at.Format(time.RFC3339)
	return func(sequence uint64) (blockfile.Record, bool) {
		return blockfile.Record{Subject: subject, Data: r.lostData(partition, sequence, reason)}, true
	}
}

// besides leaves the places of what is lost beside the log empty, and notes up to where the stream
// counted: others know sequences of it.
func (r *repair) besides(last uint64) blockfile.Stand {
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
