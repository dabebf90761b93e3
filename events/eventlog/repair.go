package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// Repaired is what a repair did to one stream.
type Repaired struct {
	Stream string `json:"stream"`
	// Partition is that of the log, -1 of a stream that is not the log's.
	Partition int `json:"partition"`
	// Lost are the entries that something stands for now: they are told as poison, with the reason.
	Lost []blockfile.Lost `json:"lost,omitempty"`
	// Aside is where the files lie that were replaced; empty if none were.
	Aside string `json:"aside,omitempty"`
	// What says what was done.
	What string `json:"what"`
}

// Repair accepts the loss of what an inspection finds damaged or missing, so that the log can be
// opened again: what is good stays what and where it is, and in the place of every lost entry
// stands one that says so. Files that are replaced are moved aside, never removed, and the witness
// is begun anew for the streams that were repaired. The log must not be open. Where something
// better than accepting the loss is at hand, such as a backup, that is to be used instead. leaves,
// which may be nil, keeps the Merkle trees what they were; the state has them.
func Repair(ctx context.Context, dir, witnessDir string, leaves Leaves) (list []Repaired, err error) {
	lock := flock.New(filepath.Join(dir, "lock"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("eventlog: repair: %w", err)
	}
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrInUse, dir), err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	i, err := Inspect(ctx, dir, witnessDir, 0, nil)
	if err != nil {
		return nil, err
	}
	r := repair{dir: dir, leaves: leaves, inspection: i, at: time.Now().UTC()}
	if slices.ContainsFunc(i.Findings, func(f Finding) bool { return f.Code == CodeWitnessDamaged }) {
		return r.forgetWitness(witnessDir)
	}
	file, err := witness.Open(witnessDir)
	if err != nil {
		return nil, err
	}
	r.marks = file.Marks()
	for _, stream := range i.damagedStreams() {
		done, err := r.stream(stream)
		if err != nil {
			return list, fmt.Errorf("eventlog: repair stream %s: %w", stream, err)
		}
		list = append(list, done)
	}
	if len(list) == 0 {
		return nil, nil
	}
	return list, file.Write(r.marks)
}

// damagedStreams are the streams with findings that keep the log from being served, each once.
func (i *Inspection) damagedStreams() (list []string) {
	for _, f := range i.Findings {
		if f.Fatal && f.Stream != "" && !slices.Contains(list, f.Stream) {
			list = append(list, f.Stream)
		}
	}
	return list
}

type repair struct {
	dir        string
	leaves     Leaves
	inspection Inspection
	marks      witness.Marks
	at         time.Time
}

// has reports whether the inspection found something of a code about a stream.
func (r *repair) has(stream, code string) bool {
	return slices.ContainsFunc(r.inspection.Findings, func(f Finding) bool { return f.Stream == stream && f.Code == code })
}

// forgetWitness moves a witness aside that cannot be read.
func (r *repair) forgetWitness(dir string) ([]Repaired, error) {
	aside := dir + ".damaged-" + r.at.Format("20060102T150405")
	if err := os.Rename(dir, aside); err != nil {
		return nil, fmt.Errorf("eventlog: repair: %w", err)
	}
	return []Repaired{{Partition: -1, Aside: aside, What: "the witness could not be read and is moved aside; the next start begins a new one with what the log holds"}}, nil
}

func (r *repair) stream(name string) (Repaired, error) {
	done := Repaired{Stream: name, Partition: partitionOf(name)}
	mark := r.marks[name]
	s := blockfile.Stream{Dir: filepath.Join(streamsDir(r.dir), name), Name: name}
	partition := partitionOf(name)
	switch {
	case r.has(name, CodeUnreadable):
		return done, errors.New("its files cannot be read now; mend that first")
	case r.has(name, CodeStreamMissing) && (partition < 0 || r.allMissing()):
		delete(r.marks, name)
		done.What = "it is gone with all that was in it; the next start makes an empty one"
		return done, nil
	case r.has(name, CodeStreamMissing):
		made, err := r.remake(s, partition, mark)
		if err != nil {
			return done, err
		}
		s = made
	case r.has(name, CodeMetaDamaged):
		return done, fmt.Errorf("%s does not fit its checksum; bring it back from a backup", filepath.Join(s.Dir, "meta.inf"))
	case r.has(name, CodeStreamForeign), r.has(name, CodeEntryDiffers):
		delete(r.marks, name)
		done.What = "the log that is there is taken for the right one; what was acknowledged besides is lost"
		return done, nil
	}
	return r.mend(s, partition, mark)
}

// allMissing reports whether no partition is left.
func (r *repair) allMissing() bool {
	return !slices.ContainsFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Partition >= 0 })
}

// remake makes the stream of a partition again, like another one's.
func (r *repair) remake(s blockfile.Stream, partition int, mark witness.Mark) (blockfile.Stream, error) {
	i := slices.IndexFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Partition >= 0 })
	like := r.inspection.Streams[i]
	return blockfile.Make(s.Dir, s.Name, fmt.Sprintf("receiptd: events of partition %d", partition),
		[]string{events.PartitionSubjects(partition)}, mark.Created, blockfile.Stream{Dir: like.dir, Name: like.Stream})
}

// mend writes the blocks again without what is damaged.
func (r *repair) mend(s blockfile.Stream, partition int, mark witness.Mark) (Repaired, error) {
	done := Repaired{Stream: s.Name, Partition: partition, Aside: filepath.Join(r.dir, asideDir, "repair-"+r.at.Format("20060102T150405"), s.Name)}
	meta, err := s.Meta()
	if err != nil {
		return done, err
	}
	files := StreamFiles{}
	if i := slices.IndexFunc(r.inspection.Streams, func(f StreamFiles) bool { return f.Stream == s.Name }); i >= 0 {
		files = r.inspection.Streams[i]
	}
	if partition < 0 {
		done.What = "what is damaged is left out; the rest stays"
		_, err = s.Mend(0, 0, nil, done.Aside)
	} else {
		done.What = "in the place of each lost entry stands one that says so; the others stay as they were"
		subject, reason := []byte(events.LostSubject(partition)), "accepted by receiptctl repair at "+r.at.Format(time.RFC3339)
		first, last := mark.Trimmed+1, max(mark.Last, files.Top)
		done.Lost, err = s.Mend(first, last, func(sequence uint64) ([]byte, []byte) {
			return subject, r.lostData(partition, sequence, reason)
		}, done.Aside)
		r.marks[s.Name] = witness.Mark{Stream: s.Name, Created: meta.Created.UTC(), Last: last, Trimmed: mark.Trimmed}
		return done, err
	}
	delete(r.marks, s.Name)
	return done, err
}
