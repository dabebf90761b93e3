package backup

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// blockBytes is from which size on a block is sent and the next one begun: what a backup costs in
// memory on either side, and what is read again after it was cut off.
var blockBytes = 4 << 20

// ErrForeign is returned by [Send] if what is there already is a backup of another log, or of this
// one before it was restored.
var ErrForeign = errors.New("the directory holds a backup of another log, or of this one before it was restored; take another directory")

// Origin is what a backup is made of.
type Origin struct {
	Log *eventlog.Log
	// Digests waits until the state has all entries up to these, one for each partition, and
	// returns where it stands then, with its digests.
	Digests func(ctx context.Context, upto []uint64) ([]State, error)
	// Secrets are the files of secrets by their names; none if they are left out.
	Secrets map[string][]byte
}

// Have is what a directory holds of a backup already.
type Have struct {
	// Log is the identity of its log, empty if there is nothing yet.
	Log     string                `json:"log"`
	Streams map[string]HaveStream `json:"streams"`
}

// HaveStream says up to where it has a stream.
type HaveStream struct {
	Created time.Time `json:"created"`
	// Block is the number of its last block, Last the last sequence in that, and Fingerprint that
	// entry's.
	Block       int    `json:"block"`
	Last        uint64 `json:"last"`
	Fingerprint uint64 `json:"fingerprint"`
}

// maxHave bounds what a receiver says of what it has, in bytes: a line for each stream.
const maxHave = 1 << 20

// ReadHave reads what a receiver says that it has. What no directory has is refused.
func ReadHave(from io.Reader) (have Have, err error) {
	text, err := io.ReadAll(io.LimitReader(from, maxHave+1))
	switch {
	case err != nil:
		return Have{}, err
	case len(text) > maxHave:
		return Have{}, fmt.Errorf("it is larger than %d bytes", maxHave)
	}
	if err := json.Unmarshal(text, &have); err != nil {
		return Have{}, err
	}
	for name, s := range have.Streams {
		if s.Block < 0 || s.Block == math.MaxInt || s.Last > math.MaxInt64 || have.Log == "" && s != (HaveStream{}) {
			return Have{}, fmt.Errorf("no backup has block %d, up to %d, of stream %q of log %q", s.Block, s.Last, name, have.Log)
		}
	}
	return have, nil
}

// Names of what is sent beside blocks and secrets.
const (
	beginName = "begin.json"
	endName   = "end.json"
	errorName = "error.txt"
)

// begin says what will be sent: of each stream what follows After.
type begin struct {
	Format     int           `json:"format"`
	Log        string        `json:"log"`
	Partitions int           `json:"partitions"`
	Bytes      int64         `json:"bytes"` // about as many
	Streams    []beginStream `json:"streams"`
}

type beginStream struct {
	Stream    string    `json:"stream"`
	Partition int       `json:"partition"`
	Created   time.Time `json:"created"`
	After     uint64    `json:"after"`
	Meta      string    `json:"meta"`
}

// end says what was sent.
type end struct {
	Made    time.Time   `json:"made"`
	Streams []endStream `json:"streams"`
	State   []State     `json:"state"`
}

type endStream struct {
	Stream      string `json:"stream"`
	First       uint64 `json:"first"` // that the stream had then
	Last        uint64 `json:"last"`
	Fingerprint uint64 `json:"fingerprint"`
}

// Identity is the form in which a backup has the identity of a log.
func Identity(l *eventlog.Log) string { return fmt.Sprintf("%016x", l.Identity()) }

// Send writes what the log's server holds and the receiver does not have. An error is told to the
// receiver too. It is [ErrForeign] before anything was written.
func Send(ctx context.Context, w io.Writer, o Origin, have Have) error {
	if have.Log != "" && have.Log != Identity(o.Log) {
		return ErrForeign
	}
	s := sender{Origin: o, tar: tar.NewWriter(w)}
	err := s.send(ctx, have)
	if err != nil && ctx.Err() == nil {
		_ = s.put(errorName, []byte(err.Error()))
	}
	return errors.Join(err, s.tar.Close())
}

type sender struct {
	Origin
	tar     *tar.Writer
	streams []*streamCursor
}

// streamCursor is how much of a stream was sent.
type streamCursor struct {
	eventlog.Holding
	block int    // the last one that was sent
	at    uint64 // the last sequence in it
	print uint64 // that entry's fingerprint
}

func (s *sender) send(ctx context.Context, have Have) error {
	holdings, err := s.Log.Holdings(ctx)
	if err != nil {
		return err
	}
	if err := s.begin(ctx, holdings, have); err != nil {
		return err
	}
	ends := make([]uint64, s.Log.Partitions())
	for _, x := range s.streams {
		if x.Partition >= 0 {
			ends[x.Partition] = x.Last
		}
		if err := s.copy(ctx, x, x.Last, true); err != nil {
			return err
		}
	}
	for _, x := range s.streams {
		if x.Partition < 0 {
			if err := s.refresh(ctx, x); err != nil {
				return err
			}
			if err := s.copy(ctx, x, 0, false); err != nil {
				return err
			}
		}
	}
	states, err := s.Digests(ctx, ends)
	if err != nil {
		return fmt.Errorf("digest of the state: %w", err)
	}
	for _, x := range s.streams {
		if x.Partition >= 0 {
			x.Last = states[x.Partition].Position
			if err := s.copy(ctx, x, x.Last, false); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		if err := s.put(path.Join(secretsDir, name), s.Secrets[name]); err != nil {
			return err
		}
	}
	return s.end(states)
}

// refresh asks how far a stream is now: whoever was copied before may name sequences up to there,
// even if nothing is left of them.
func (s *sender) refresh(ctx context.Context, x *streamCursor) error {
	holdings, err := s.Log.Holdings(ctx)
	for _, h := range holdings {
		if h.Stream == x.Stream {
			x.Holding = h
		}
	}
	return err
}

// order is that in which streams are copied: see the package comment. What is not named here refers
// to nothing but the log.
func order(h eventlog.Holding) int {
	switch {
	case h.Partition >= 0:
		return 2
	case strings.HasPrefix(h.Stream, "RECEIPTD_INBOX") && h.Stream != "RECEIPTD_INBOX_POSITIONS":
		return 1
	}
	return 0
}

func (s *sender) begin(ctx context.Context, holdings []eventlog.Holding, have Have) error {
	slices.SortStableFunc(holdings, func(a, b eventlog.Holding) int { return order(a) - order(b) })
	b := begin{Format: format, Log: Identity(s.Log), Partitions: s.Log.Partitions()}
	for _, h := range holdings {
		x := &streamCursor{Holding: h}
		if err := s.goOn(ctx, x, have.Streams[h.Stream]); err != nil {
			return err
		}
		s.streams = append(s.streams, x)
		b.Streams = append(b.Streams, beginStream{
			Stream: h.Stream, Partition: h.Partition, Created: h.Created, After: x.at, Meta: string(h.Meta),
		})
		if left := h.Last - min(h.Last, max(x.at, h.First-1)); h.Entries > 0 {
			b.Bytes += int64(float64(h.Bytes) / float64(h.Last-h.First+1) * float64(left))
		}
	}
	return s.putJSON(beginName, b)
}

// goOn finds out from where on a stream has to be sent.
func (s *sender) goOn(ctx context.Context, x *streamCursor, have HaveStream) error {
	x.block = have.Block
	switch {
	case have.Last == 0, x.Partition < 0 && (!have.Created.Equal(x.Created) || have.Last > x.Last):
		return nil // from the beginning, another stream may be in its place
	case have.Last > x.Last:
		return fmt.Errorf("the directory has entries of partition %d up to %d, the log ends with %d", x.Partition, have.Last, x.Last)
	case x.Partition >= 0 && have.Last >= x.First:
		e, err := s.Log.EntryAt(ctx, x.Partition, have.Last)
		if err != nil && !errors.Is(err, eventlog.ErrNoEntry) { // trimmed meanwhile
			return err
		}
		if err == nil && eventlog.Fingerprint(e) != have.Fingerprint {
			return fmt.Errorf("entry %d of partition %d is not the one that the directory has", have.Last, x.Partition)
		}
	}
	x.at, x.print = have.Last, have.Fingerprint
	return nil
}

// copy sends what a stream has after what was sent, up to a sequence; 0 is to its end. In the first
// round only whole blocks are worth it.
func (s *sender) copy(ctx context.Context, x *streamCursor, upto uint64, whole bool) error {
	after := x.at
	if x.Partition >= 0 {
		after = max(after, x.First-1) // what was before it has left the log
	}
	if upto != 0 && upto <= after || upto == 0 && x.Partition >= 0 {
		return nil
	}
	block := blockfile.NewBlock(x.Stream, x.block+1)
	next := after + 1
	print := x.print
	err := s.Log.Copy(ctx, x.Stream, after, upto, func(r blockfile.Record) error {
		if x.Partition >= 0 {
			if r.Sequence != next {
				return fmt.Errorf("entry %d follows %d: entries have left the log meanwhile; try again", r.Sequence, next-1)
			}
			print = eventlog.Fingerprint(eventlog.Entry{Sequence: r.Sequence, Time: time.Unix(0, r.Time), Data: r.Data})
		}
		next = r.Sequence + 1
		block.Append(r)
		if len(block.Bytes()) < blockBytes {
			return nil
		}
		x.print = print
		err := s.sendBlock(x, block)
		block = blockfile.NewBlock(x.Stream, x.block+1)
		return err
	})
	if err == nil && !whole && upto != 0 && next != upto+1 {
		err = fmt.Errorf("partition %d ended with entry %d, not %d; try again", x.Partition, next-1, upto)
	}
	if err != nil || whole || block.Messages == 0 {
		return err
	}
	x.print = print
	return s.sendBlock(x, block)
}

func (s *sender) sendBlock(x *streamCursor, b *blockfile.Block) error {
	x.block++
	x.at = b.Last
	return s.put(blockName(x.Stream, x.block), b.Bytes())
}

func (s *sender) end(states []State) error {
	e := end{Made: time.Now().UTC(), State: states}
	for _, x := range s.streams {
		e.Streams = append(e.Streams, endStream{Stream: x.Stream, First: x.First, Last: max(x.Last, x.at), Fingerprint: x.print})
	}
	return s.putJSON(endName, e)
}

func (s *sender) putJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.put(name, text)
}

func (s *sender) put(name string, data []byte) error { return putTar(s.tar, name, data) }

func putTar(w *tar.Writer, name string, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Flush()
}
