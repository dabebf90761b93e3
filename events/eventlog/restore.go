package eventlog

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// restoreBlock is from which size on a block file that is restored is followed by the next one.
const restoreBlock = 8 << 20

// Restorer makes the files of an embedded log from records that were kept elsewhere. Sequences,
// times, subjects and headers of the records are what they were; the log begins another life (see
// [Log.Identity]). The directory must have no log.
type Restorer struct {
	dir          string
	life         string
	attestations witness.Attestations
}

// Restore begins to restore a log.
func Restore(dir string) (*Restorer, error) {
	if _, err := os.Stat(filepath.Dir(streamDir(dir, "x"))); err == nil {
		return nil, fmt.Errorf("eventlog: restore: there is a log in %s", dir)
	}
	return &Restorer{dir: dir, life: newLife(), attestations: witness.Attestations{}}, nil
}

// Stream restores one stream: the text of its configuration, and the records that fill hands on, in
// order. last is the largest sequence the stream ever had, which counts on from it.
func (r *Restorer) Stream(name string, meta []byte, last uint64, fill func(add func(blockfile.Record) error) error) (err error) {
	if meta, err = blockfile.OfOne(meta); err != nil {
		return fmt.Errorf("eventlog: restore stream %s: %w", name, err)
	}
	if partitionOf(name) >= 0 {
		if meta, err = blockfile.WithMetadata(meta, metaLife, r.life); err != nil {
			return fmt.Errorf("eventlog: restore stream %s: %w", name, err)
		}
	}
	w := streamWriter{attested: witness.Attestation{Stream: name}}
	if w.stream, err = blockfile.Begin(streamDir(r.dir, name), name, meta); err != nil {
		return fmt.Errorf("eventlog: restore stream %s: %w", name, err)
	}
	config, err := w.stream.Meta()
	if err == nil {
		err = fill(w.add)
	}
	if err == nil {
		err = w.finish(last)
	}
	if err != nil {
		return fmt.Errorf("eventlog: restore stream %s: %w", name, err)
	}
	w.attested.Created = config.Created.UTC()
	r.attestations[name] = w.attested
	return nil
}

// Witness writes a witness of all that was restored, in the place of what is there.
func (r *Restorer) Witness(dir string) error {
	file, err := witness.Open(dir)
	if err != nil {
		return err
	}
	return file.Write(r.attestations)
}

// streamWriter writes the blocks of a stream.
type streamWriter struct {
	stream   blockfile.Stream
	index    int // of the block
	block    *blockfile.Block
	attested witness.Attestation
	time     int64
}

func (w *streamWriter) add(r blockfile.Record) error {
	log := partitionOf(w.stream.Name) >= 0
	switch {
	case w.attested.Last == 0 && log:
		w.attested.Trimmed = r.Sequence - 1
	case log && r.Sequence != w.attested.Last+1, r.Sequence <= w.attested.Last:
		return fmt.Errorf("record %d follows %d", r.Sequence, w.attested.Last)
	}
	if w.block == nil {
		w.index++
		w.block = blockfile.NewBlock(w.stream.Name, w.index)
	}
	w.block.Append(r)
	w.attested.Last, w.time = r.Sequence, r.Time
	if log {
		w.attested.At = r.Sequence
		w.attested.Fingerprint = Fingerprint(Entry{Sequence: r.Sequence, Time: time.Unix(0, r.Time), Data: r.Data})
	}
	if len(w.block.Bytes()) >= restoreBlock {
		return w.flush()
	}
	return nil
}

// finish notes up to where the stream counted, if its last messages are gone, and writes the rest.
func (w *streamWriter) finish(last uint64) error {
	if last > w.attested.Last {
		if w.block == nil {
			w.index++
			w.block = blockfile.NewBlock(w.stream.Name, w.index)
		}
		if w.time == 0 {
			w.time = time.Now().UnixNano()
		}
		w.block.Append(blockfile.Record{Sequence: last, Time: w.time, Gone: true})
		w.attested.Last = last
		if partitionOf(w.stream.Name) >= 0 { // all of it has left the log
			w.attested.Trimmed, w.attested.At, w.attested.Fingerprint = last, 0, 0
		}
	}
	return w.flush()
}

func (w *streamWriter) flush() error {
	if w.block == nil {
		return nil
	}
	data := w.block.Bytes()
	w.block = nil
	return w.stream.WriteBlock(w.index, data)
}
