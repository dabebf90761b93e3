package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// Inspection is what the files of an embedded log hold, and what is wrong with them.
type Inspection struct {
	Streams  []StreamFiles `json:"streams"`
	Findings []Finding     `json:"findings"`
}

// StreamFiles is what the files of one stream hold.
type StreamFiles struct {
	Stream string `json:"stream"`
	// Partition is -1 for a stream that is not the log's.
	Partition int       `json:"partition"`
	Created   time.Time `json:"created"`
	// First and Last are the sequences of the first and last entry, zeros if there is none; Top is
	// the largest that ever was, as far as the files tell.
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Top     uint64 `json:"top"`
	Entries uint64 `json:"entries"`
	// LastTime is when the broker stored the last entry; zero if there is none.
	LastTime time.Time `json:"last_time,omitzero"`
	Bytes    int64     `json:"bytes"`
	// Skipped is how many of the oldest block files were not read, and SkippedBytes how long
	// they are.
	Skipped      int   `json:"skipped,omitempty"`
	SkippedBytes int64 `json:"skipped_bytes,omitempty"`

	dir     string
	expires bool // its entries leave it by themselves
	trimmed uint64
}

// FingerprintAt reads the fingerprint of an entry of the stream. The error wraps [ErrNoEntry] if
// the files have none with that sequence.
func (f *StreamFiles) FingerprintAt(ctx context.Context, sequence uint64) (fingerprint uint64, err error) {
	found := false
	s := blockfile.Stream{Dir: f.dir, Name: f.Stream}
	_, err = s.Scan(ctx, blockfile.Options{Visit: func(r blockfile.Record) error {
		if r.Sequence == sequence && !r.Gone {
			found = true
			fingerprint = Fingerprint(Entry{Sequence: r.Sequence, Time: time.Unix(0, r.Time), Data: r.Data})
		}
		return nil
	}})
	if err == nil && !found {
		err = fmt.Errorf("%w: stream %s, sequence %d", ErrNoEntry, f.Stream, sequence)
	}
	return fingerprint, err
}

// Err is a [*DamageError] if the log must not be served as it is, else nil.
func (i *Inspection) Err() error {
	for _, f := range i.Findings {
		if f.Fatal {
			return &DamageError{Findings: i.Findings}
		}
	}
	return nil
}

// Inspect reads the files of an embedded log through, without the server and without changing
// anything, and compares them with the witness. newest bounds what is read of each stream, in
// bytes, from its end; 0 = all. The error is for what kept it from looking; what it found is in the
// inspection. The log must not be open.
func Inspect(ctx context.Context, dir, witnessDir string, newest int64, progress func(bytes int64)) (Inspection, error) {
	attestations, err := witness.Read(witnessDir)
	n := inspector{dir: dir, attestations: attestations, newest: newest, progress: progress}
	if err != nil {
		n.add(Finding{Code: CodeWitnessDamaged, Fatal: true, What: err.Error()})
	}
	streams, err := blockfile.Streams(filepath.Join(dir, server.JetStreamStoreDir))
	if err != nil {
		return n.Inspection, fmt.Errorf("eventlog: inspect: %w", err)
	}
	there := map[string]bool{}
	for _, s := range streams {
		there[s.Name] = true
		if err := n.stream(ctx, s); err != nil {
			return n.Inspection, fmt.Errorf("eventlog: inspect stream %s: %w", s.Name, err)
		}
	}
	for name, m := range attestations {
		if !there[name] && m.Last > 0 {
			n.add(Finding{Code: CodeStreamMissing, Fatal: true, Stream: name, First: min(m.Trimmed+1, m.Last), Last: m.Last,
				What: "the stream's directory is not there, and entries of it were acknowledged; is a volume not mounted?"})
		}
	}
	if len(attestations) == 0 && hasWitnessed(dir) {
		n.add(Finding{Code: CodeWitnessMissing, What: "the log had a witness, and " + witnessDir + " holds none; a new one is begun"})
	}
	return n.Inspection, nil
}

// witnessedFile lies in the log's directory once a witness of it was written.
const witnessedFile = "witnessed"

func hasWitnessed(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, witnessedFile))
	return err == nil
}

type inspector struct {
	Inspection
	dir          string // of the log
	attestations witness.Attestations
	newest       int64
	progress     func(int64)
}

func (n *inspector) add(f Finding) {
	if disposable(f.Stream) {
		f.Fatal, f.What = false, f.What+"; it holds snapshots of the state, which are passed over if they are damaged, and made anew"
	}
	n.Findings = append(n.Findings, f)
}

// dispose moves the disposable streams away whose files are damaged: the server may take for ever
// to recover what can be made anew.
func (i *Inspection) dispose(dir string) error {
	for _, f := range i.Findings {
		at := slices.IndexFunc(i.Streams, func(s StreamFiles) bool { return s.Stream == f.Stream })
		if at < 0 || !disposable(f.Stream) || f.Code == CodeTornTail || f.Code == CodeMetaStale {
			continue
		}
		if err := putAside(dir, f.Stream, i.Streams[at].dir); err != nil {
			return fmt.Errorf("put damaged snapshots aside: %w", err)
		}
		i.Streams = slices.Delete(i.Streams, at, at+1)
	}
	return nil
}

// disposable reports whether a stream has nothing that is not made anew: the snapshots of the
// state, and the notes about them.
func disposable(stream string) bool {
	return stream == "OBJ_receiptd_snapshots" || stream == "KV_receiptd_snapshots"
}

// partitionOf is the partition whose stream has a name, -1 if it is none of the log's.
func partitionOf(stream string) int {
	number, ok := strings.CutPrefix(stream, streamPrefix)
	if p, err := strconv.Atoi(number); ok && err == nil && streamName(p) == stream {
		return p
	}
	return -1
}

func (n *inspector) stream(ctx context.Context, s blockfile.Stream) error {
	partition := partitionOf(s.Name)
	files := StreamFiles{Stream: s.Name, Partition: partition, dir: s.Dir}
	meta, err := s.Meta()
	switch {
	case errors.Is(err, blockfile.ErrDamaged) && n.attestations[s.Name].Last == 0 && hasNoEntries(ctx, &s) == nil:
		return nil // its creation was cut off; the start takes it away
	case errors.Is(err, blockfile.ErrDamaged):
		if text, e := mendedMeta(&s, n.attestations[s.Name]); e == nil && text != nil {
			n.add(Finding{Code: CodeMetaStale, Stream: s.Name, What: err.Error() + "; it is certain how it was, and a start mends it"})
			meta, err = blockfile.ParseMeta(text)
			break
		}
		n.add(Finding{Code: CodeMetaDamaged, Fatal: true, Stream: s.Name, What: err.Error()})
	case err != nil:
		n.add(Finding{Code: CodeUnreadable, Fatal: true, Stream: s.Name, What: err.Error()})
		return nil
	}
	files.Created, files.expires = meta.Created, meta.MaxAge > 0
	attested, known := n.attestations[s.Name]
	files.trimmed = attested.Trimmed
	if err == nil && attested.Last > 0 && !attested.Created.Equal(meta.Created) {
		n.add(Finding{Code: CodeStreamForeign, Fatal: true, Stream: s.Name, First: 1, Last: attested.Last,
			What: fmt.Sprintf("it was made at %s, the one that was acknowledged to at %s", meta.Created.Format(time.RFC3339Nano),
				attested.Created.Format(time.RFC3339Nano))})
		return nil
	}
	kept := lostButKept(n.dir, &s, attested)
	for _, b := range kept {
		n.add(Finding{Code: CodeBlockKept, Stream: s.Name, File: s.BlockPath(b.Index),
			What: "the block was removed, or written anew, after the witness was written; it has a hard link, from which a start puts it back"})
	}
	var differs error
	r, err := s.Scan(ctx, blockfile.Options{
		Contiguous: partition >= 0, Newest: n.bound(&s), Since: time.Now().Add(-unreadAge), Blocks: expected(attested, kept), Progress: n.progress,
		Visit: func(r blockfile.Record) error {
			if differs == nil {
				differs = checkRecord(&r, partition, attested)
			}
			return nil
		},
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		n.add(Finding{Code: CodeUnreadable, Fatal: true, Stream: s.Name, What: err.Error()})
		return nil
	}
	files.First, files.Last, files.Top, files.Entries = r.First, r.Last, r.Top, r.Messages
	files.Bytes, files.Skipped, files.SkippedBytes = r.Bytes, r.Skipped, r.SkippedBytes
	if r.LastTime != 0 {
		files.LastTime = time.Unix(0, r.LastTime).UTC()
	}
	n.Streams = append(n.Streams, files)
	n.judge(&files, &r, attested, known && len(kept) == 0) // what is not back yet is not missing
	if f, ok := errors.AsType[*recordError](differs); ok {
		n.add(Finding{Code: f.code, Fatal: true, Stream: s.Name, First: f.sequence, Last: f.sequence, What: f.what})
	}
	return nil
}

// unreadAge is how long nothing was written to a block that need not be read. Within
// [duplicateWindow] the server reads them at its start, to know its duplicates.
const unreadAge = 5 * duplicateWindow

// bound is how much of a stream is read, 0 for all of it. What the server reads at its start is
// read before: where a record is not whole it cuts the file off, and a hard link is no help.
// That is every block if its summary does not fit, as after a crash, and any block of a stream that
// expires or has limits.
func (n *inspector) bound(s *blockfile.Stream) int64 {
	if _, fits := s.Summary(); !fits || partitionOf(s.Name) < 0 {
		return 0
	}
	return n.newest
}

// recordError is a record that is whole and not what it should be.
type recordError struct {
	code, what string
	sequence   uint64
}

func (e *recordError) Error() string { return e.what }

// checkRecord compares a record with what is known without it: what the hash does not cover, and
// the witness.
func checkRecord(r *blockfile.Record, partition int, attested witness.Attestation) error {
	if r.Gone {
		return nil
	}
	if err := checkSubject(r, partition); err != nil {
		return err
	}
	if r.Sequence != attested.At || attested.Fingerprint == 0 || string(r.Subject) == events.LostSubject(partition) {
		return nil // what a repair put in its place says so to everybody
	}
	e := Entry{Sequence: r.Sequence, Time: time.Unix(0, r.Time), Data: r.Data}
	if got := Fingerprint(e); got != attested.Fingerprint {
		return &recordError{code: CodeEntryDiffers, sequence: r.Sequence,
			what: fmt.Sprintf("its fingerprint is %016x, that of the entry which was acknowledged %016x", got, attested.Fingerprint)}
	}
	return nil
}

// checkSubject finds what a record's hash lets pass: it covers the subject and the data as one, and
// not where one ends and the other begins. Of streams beside the log (partition below 0) it says
// nothing.
func checkSubject(r *blockfile.Record, partition int) error {
	if partition < 0 || events.IsEntrySubject(string(r.Subject), partition) {
		return nil
	}
	return &recordError{code: CodeBlockDamaged, sequence: r.Sequence,
		what: fmt.Sprintf("an entry with the subject %q in the stream of partition %d", r.Subject, partition)}
}

// judge turns what a scan found, and what the witness knows besides, into findings.
func (n *inspector) judge(files *StreamFiles, r *blockfile.Report, attested witness.Attestation, known bool) {
	for _, d := range r.Damage {
		f := damageFinding(files.Stream, d)
		if d.What == blockfile.MissingBlock || d.What == blockfile.ShortBlock {
			f.Code = CodeEntriesMissing
		}
		n.add(f)
	}
	last := r.Top
	if files.expires && last < attested.Last && r.Torn == nil {
		// Of such a stream the summary may know more than what is left of it, if it is of
		// these blocks.
		summed, _ := (&blockfile.Stream{Dir: files.dir, Name: files.Stream}).Summary()
		last = max(last, summed)
	}
	if known && last < attested.Last {
		f := Finding{Code: CodeShorter, Fatal: true, Stream: files.Stream, First: last + 1, Last: attested.Last,
			What: fmt.Sprintf("it ends with entry %d, and entries up to %d were acknowledged", last, attested.Last)}
		if r.Torn != nil {
			f.File, f.Offset = r.Torn.File, r.Torn.Offset
			f.What += ": " + r.Torn.What
		}
		n.add(f)
		return
	}
	if r.Torn != nil {
		n.add(Finding{Code: CodeTornTail, Stream: files.Stream, File: r.Torn.File, Offset: r.Torn.Offset, First: r.Torn.First,
			What: r.Torn.What + ", which a crash cut off before it was acknowledged"})
	}
	first := r.First
	if r.Messages == 0 {
		first = r.Top + 1
	}
	if files.Partition >= 0 && known && r.Skipped == 0 && first > attested.Trimmed+1 {
		n.add(Finding{Code: CodeEntriesMissing, Fatal: true, Stream: files.Stream, First: attested.Trimmed + 1, Last: first - 1,
			What: fmt.Sprintf("it begins with entry %d, and retention took those up to %d", first, attested.Trimmed)})
	}
}

// logFindings tells an operator of what does not keep the log from being served.
func logFindings(logger *slog.Logger, list []Finding) {
	for _, f := range list {
		if !f.Fatal {
			logger.Warn("something was found in the log's files", slog.String("what", f.What), slog.String("code", f.Code), slog.String("stream", f.Stream),
				slog.String("file", f.File), slog.Int64("offset", f.Offset))
		}
	}
}

// unread is how many bytes of the log's files were not read, and tells an operator of each stream
// that has some.
func (i *Inspection) unread(logger *slog.Logger) (total int64) {
	for _, s := range i.Streams {
		if total += s.SkippedBytes; s.Skipped > 0 {
			logger.Warn("old blocks of the log were not read at this start, as --inspect-size asks; scrubbing reads them, unless --scrub-rate is 0",
				slog.String("stream", s.Stream), slog.Int("blocks", s.Skipped), slog.Int64("bytes", s.SkippedBytes))
		}
	}
	return total
}
