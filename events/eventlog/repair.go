package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

// Repaired is what a repair did to one stream.
type Repaired struct {
	Stream string `json:"stream"`
	// Partition is -1 for a stream that is not the log's.
	Partition int `json:"partition"`
	// Lost are the entries that something stands for now: they are told as poison, with the reason.
	Lost []blockfile.Lost `json:"lost,omitempty"`
	// Restored is how many entries came from elsewhere.
	Restored uint64 `json:"restored,omitempty"`
	// OtherLog is set if what there is now is not the log that was acknowledged.
	OtherLog bool `json:"other_log,omitempty"`
	// Aside is where the files lie that were replaced; empty if none were.
	Aside string `json:"aside,omitempty"`
	// What says what was done.
	What string `json:"what"`
}

// RepairOptions say what a repair may do.
type RepairOptions struct {
	// From has entries that are missing or damaged in the log; nil for none.
	From Source
	// AcceptLoss lets it give up whatever nobody has, and Accept what is in these ranges: more than
	// that is refused.
	AcceptLoss bool
	Accept     []Range
	// Again is for a repair after one that was cut off, which may have mended what the witness does
	// not know of yet.
	Again bool
	// Leaves keeps the Merkle trees of the log what they were; the state has them. nil for none.
	Leaves Leaves
}

// ErrLoss is wrapped by the error of a repair that could not go without losing entries, which it
// was not allowed to. Nothing was changed.
var ErrLoss = errors.New("eventlog: entries would be lost")

// lossError names what would be lost.
type lossError struct{ Findings []Finding }

func (e *lossError) Error() string {
	list := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		list[i] = f.String()
	}
	return fmt.Sprintf("%v:\n  %s", ErrLoss, strings.Join(list, "\n  "))
}

// orNil is the error if there is a loss.
func (e *lossError) orNil() error {
	if len(e.Findings) == 0 {
		return nil
	}
	return e
}

// Unwrap is [ErrLoss].
func (e *lossError) Unwrap() error { return ErrLoss }

// Repair makes a log that an inspection finds damaged fit to be opened again. What is good stays
// what and where it is. What is damaged or missing comes from the source, as far as it has it; in
// the place of every entry that is lost stands one that says so, if that is allowed. Files that are
// replaced are moved aside, never removed, and the witness is begun anew for the streams that were
// repaired. The log must not be open. The error wraps [ErrLoss] if more than the source has would
// be needed, and [ErrForeignSource] if that is not of this log, and is [ErrReplica] for the store
// of a node; nothing is changed then.
func Repair(ctx context.Context, dir, witnessDir string, o RepairOptions) (list []Repaired, err error) {
	if IsPeer(dir) {
		return nil, ErrReplica
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("eventlog: repair: %w", err)
	}
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrInUse, dir), err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	r := repair{dir: dir, o: o, at: time.Now().UTC()}
	if r.attestations, err = witness.Read(witnessDir); err == nil {
		if list, err = r.metas(); err != nil {
			return list, err
		}
		if err := putBackKept(dir, r.attestations, slog.Default()); err != nil {
			return list, err
		}
	}
	if r.inspection, err = Inspect(ctx, dir, witnessDir, 0, nil); err != nil {
		return list, err
	}
	if loss := r.unaccepted(r.losses()); len(loss) > 0 {
		return list, &lossError{Findings: loss}
	}
	if slices.ContainsFunc(r.inspection.Findings, func(f Finding) bool { return f.Code == CodeWitnessDamaged }) {
		return r.forgetWitness(witnessDir)
	}
	damaged := r.inspection.damagedStreams()
	if o.Again {
		for _, f := range r.inspection.Streams {
			if f.Partition >= 0 && !slices.Contains(damaged, f.Stream) {
				damaged = append(damaged, f.Stream)
			}
		}
	}
	for _, stream := range damaged {
		if err := r.agrees(ctx, stream); err != nil {
			return list, err
		}
	}
	if loss, err := r.lossesBeyond(ctx, damaged); err != nil || len(loss) > 0 {
		return list, errors.Join(err, (&lossError{Findings: loss}).orNil())
	}
	return r.repair(ctx, damaged, witnessDir, list)
}

// repair mends the damaged streams and notes in the witness what they hold then.
func (r *repair) repair(ctx context.Context, damaged []string, witnessDir string, list []Repaired) ([]Repaired, error) {
	file, err := witness.Open(witnessDir)
	if err != nil {
		return list, err
	}
	for _, stream := range damaged {
		done, err := r.stream(ctx, stream)
		if err != nil {
			return list, fmt.Errorf("eventlog: repair stream %s: %w", stream, err)
		}
		if len(done.Lost) > 0 || done.Restored > 0 || slices.Contains(r.inspection.damagedStreams(), stream) {
			list = append(list, done)
		}
	}
	if len(damaged) == 0 {
		return list, nil
	}
	return list, file.Write(r.attestations)
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
	dir          string
	o            RepairOptions
	inspection   Inspection
	attestations witness.Attestations
	at           time.Time
}

// has reports whether the inspection found something of a code about a stream.
func (r *repair) has(stream, code string) bool {
	return slices.ContainsFunc(r.inspection.Findings, func(f Finding) bool { return f.Stream == stream && f.Code == code })
}

// losses are the findings that the source is no remedy for, with the entries that it has taken out.
func (r *repair) losses() (list []Finding) {
	for _, f := range r.inspection.Findings {
		switch f.Code {
		case CodeBlockDamaged, CodeEntriesMissing, CodeShorter, CodeStreamMissing:
			if first, last := r.bounds(f.Stream); first <= f.First && f.Last <= last {
				continue
			} else if first <= f.First {
				f.First = max(f.First, last+1)
			}
		}
		if f.Fatal && f.Code != CodeUnreadable {
			list = append(list, f)
		}
	}
	return list
}

// forgetWitness moves a witness aside that cannot be read.
func (r *repair) forgetWitness(dir string) ([]Repaired, error) {
	aside := dir + ".damaged-" + r.at.Format("20060102T150405")
	if err := atomicfile.Rename(dir, aside); err != nil {
		return nil, fmt.Errorf("eventlog: repair: %w", err)
	}
	return []Repaired{{Partition: -1, Aside: aside, What: "the witness could not be read and is moved aside; the next start begins a new one with what the log holds"}}, nil
}

func (r *repair) stream(ctx context.Context, name string) (Repaired, error) {
	done := Repaired{Stream: name, Partition: partitionOf(name)}
	attested := r.attestations[name]
	s := blockfile.Stream{Dir: streamDir(r.dir, name), Name: name}
	partition := partitionOf(name)
	_, has := r.bounds(name)
	switch {
	case r.has(name, CodeUnreadable):
		return done, errors.New("its files cannot be read now; mend that first")
	case r.has(name, CodeStreamMissing) && has > 0:
		n, err := r.refill(ctx, s)
		if done.Restored = n; err != nil {
			return done, err
		}
	case r.has(name, CodeStreamMissing) && (partition < 0 || r.allMissing()):
		delete(r.attestations, name)
		done.What, done.OtherLog = "it is gone with all that was in it; the next start makes an empty one", true
		return done, nil
	case r.has(name, CodeStreamMissing):
		made, err := r.remake(s, partition, attested)
		if err != nil {
			return done, err
		}
		s = made
	case r.has(name, CodeMetaDamaged):
		return done, fmt.Errorf("%s does not fit its checksum; bring it back from a backup", filepath.Join(s.Dir, "meta.inf"))
	case r.has(name, CodeStreamForeign), r.has(name, CodeEntryDiffers):
		delete(r.attestations, name)
		done.What, done.OtherLog = "the log that is there is taken for the right one; what was acknowledged besides is lost", true
		return done, r.newLife(s, partition)
	}
	return r.mend(s, partition, attested, done)
}
