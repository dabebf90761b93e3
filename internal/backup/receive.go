package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// maxFile bounds what is read of one file that is sent.
const maxFile = 64 << 20

// Progress is how far a backup, a check or a restore is: bytes of about as many.
type Progress struct{ Bytes, Total int64 }

// sink is where a backup goes.
type sink interface {
	// put stores a file for good. The slice is not kept.
	put(name string, data []byte) error
	// begun is called with what is known before the first file.
	begun(m *Manifest) error
	// finish makes the manifest that of the backup.
	finish(m *Manifest) error
}

// receiver takes what [Send] writes.
type receiver struct {
	sink     sink
	manifest Manifest
	// ends are the fingerprints of the last entries of what came, by stream.
	ends     map[string]uint64
	progress func(Progress)
	at       Progress
	ended    bool
}

// receive takes a backup until it is complete.
func (r *receiver) receive(ctx context.Context, in io.Reader) error {
	t := tar.NewReader(in)
	var data bytes.Buffer // it grows with what arrives, not with what is announced
	for !r.ended {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		head, err := t.Next()
		if err != nil {
			return cutOff(err)
		}
		switch {
		case head.Size > maxFile:
			return fmt.Errorf("%s has %d bytes", head.Name, head.Size)
		case isSparse(head):
			return fmt.Errorf("%s is sent with holes", head.Name)
		}
		data.Reset()
		if _, err := data.ReadFrom(t); err != nil {
			return cutOff(err)
		}
		if err := r.take(head.Name, data.Bytes()); err != nil {
			return err
		}
		r.at.Bytes += head.Size
		if r.progress != nil {
			r.progress(r.at)
		}
	}
	_, err := io.Copy(io.Discard, in) // the end of the tar: the connection may be used again
	return err
}

// isSparse reports whether a file has holes, which take no room in a tar and all of it when read.
func isSparse(head *tar.Header) bool {
	for record := range head.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return true
		}
	}
	return head.Typeflag == tar.TypeGNUSparse
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the backup was cut off before it was complete; what is there is kept, and a further run goes on with it: %w", err)
}

func (r *receiver) take(name string, data []byte) error {
	switch name {
	case beginName:
		return r.begin(data)
	case endName:
		return r.end(data)
	case errorName:
		return fmt.Errorf("the server could not go on: %s", data)
	}
	switch {
	case r.ends == nil:
		return fmt.Errorf("%s came before the beginning", name)
	case !fs.ValidPath(name):
		return fmt.Errorf("unexpected file %q", name)
	}
	if secret, ok := strings.CutPrefix(name, secretsDir+"/"); ok && path.Base(secret) == secret {
		if slices.ContainsFunc(r.manifest.Secrets, func(f File) bool { return f.Name == secret }) {
			return fmt.Errorf("%s came twice", name)
		}
		r.manifest.Secrets = append(r.manifest.Secrets, File{Name: secret, Sum: sumOf(data)})
		return r.sink.put(name, data)
	}
	stream, index, ok := parseBlockName(name)
	if !ok {
		return fmt.Errorf("unexpected file %q", name)
	}
	s := r.manifest.stream(stream)
	if s == nil {
		return fmt.Errorf("a block of stream %s, which was not announced", stream)
	}
	b, end, err := checkBlock(s, index, data)
	if err != nil {
		return err
	}
	if err := r.sink.put(name, data); err != nil {
		return err
	}
	s.add(b)
	r.ends[stream] = end
	return nil
}

// add appends a block. A partition whose entries left the log before they were copied begins anew.
func (s *Stream) add(b Block) {
	if last, _ := s.end(); s.Partition >= 0 && b.First != last+1 {
		s.Blocks = nil
	}
	s.Blocks = append(s.Blocks, b)
}

func parseBlockName(name string) (stream string, index int, ok bool) {
	dir, file := path.Split(name)
	stream, ok = strings.CutPrefix(strings.TrimSuffix(dir, "/"), streamsDir+"/")
	number, isBlock := strings.CutSuffix(file, blockSuffix)
	index, err := strconv.Atoi(number)
	return stream, index, ok && isBlock && err == nil && index > 0 && blockName(stream, index) == name && path.Base(stream) == stream
}

// checkBlock reads the records of a block, which has to follow those that the stream has, and
// returns what is to be known of it, and the fingerprint of its last entry.
func checkBlock(s *Stream, index int, data []byte) (b Block, fingerprint uint64, err error) {
	damaged := func(what string) error {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, blockName(s.Stream, index), what)
	}
	b = Block{Index: index, Sum: sumOf(data)}
	last, previous := s.end()
	if index <= previous {
		return b, 0, damaged(fmt.Sprintf("it comes after block %d", previous))
	}
	for r, err := range blockfile.Records(s.Stream, index, data) {
		switch {
		case err != nil:
			return b, 0, damaged(err.Error())
		case r.Gone, b.Last != 0 && s.Partition >= 0 && r.Sequence != b.Last+1, r.Sequence <= max(last, b.Last):
			return b, 0, damaged(fmt.Sprintf("message %d follows %d", r.Sequence, max(last, b.Last)))
		case b.First == 0:
			b.First = r.Sequence
		}
		b.Last = r.Sequence
		b.Messages++
		fingerprint = eventlog.Fingerprint(eventlog.Entry{Sequence: r.Sequence, Time: time.Unix(0, r.Time), Data: r.Data})
	}
	if b.Messages == 0 {
		return b, 0, damaged("it has no message")
	}
	return b, fingerprint, nil
}

func (r *receiver) begin(text []byte) error {
	var b begin
	if err := json.Unmarshal(text, &b); err != nil {
		return fmt.Errorf("%s: %w", beginName, err)
	}
	m := &r.manifest
	if b.Format != format || m.Log != "" && m.Log != b.Log {
		return errors.New("the server sends another backup than was asked for")
	}
	if err := b.check(); err != nil {
		return err
	}
	r.at.Total, r.ends = b.Bytes, map[string]uint64{}
	m.Format, m.Log, m.Partitions, m.Secrets = format, b.Log, b.Partitions, nil
	var streams []Stream
	for _, x := range b.Streams {
		s := Stream{Stream: x.Stream, Partition: x.Partition, Created: x.Created, Meta: x.Meta}
		if old := m.stream(x.Stream); old != nil {
			if last, _ := old.end(); last == x.After {
				s.Blocks, s.Last, s.Fingerprint = slices.Clip(old.Blocks), old.Last, old.Fingerprint
			}
		}
		streams = append(streams, s)
	}
	m.Streams = streams
	return r.sink.begun(m)
}

// check reports what no server announces.
func (b *begin) check() error {
	if b.Log == "" || b.Partitions < 1 {
		return fmt.Errorf("%s names no log", beginName)
	}
	named := names{}
	for _, s := range b.Streams {
		if err := named.stream(s.Stream, s.Partition, b.Partitions); err != nil {
			return fmt.Errorf("%s: %w", beginName, err)
		}
		if _, err := blockfile.ParseMeta([]byte(s.Meta)); err != nil {
			return fmt.Errorf("%s: the configuration of stream %s: %w", beginName, s.Stream, err)
		}
	}
	return nil
}

func (r *receiver) end(text []byte) error {
	if r.ends == nil {
		return fmt.Errorf("%s came before the beginning", endName)
	}
	var e end
	if err := json.Unmarshal(text, &e); err != nil {
		return fmt.Errorf("%s: %w", endName, err)
	}
	m := &r.manifest
	m.Complete, m.Made, m.State = true, e.Made, e.State
	for _, x := range e.Streams {
		s := m.stream(x.Stream)
		if s == nil {
			return fmt.Errorf("%s names stream %s, which was not announced", endName, x.Stream)
		}
		have, came := r.ends[s.Stream]
		if !came {
			have = s.Fingerprint // of the backup before; 0 if that was cut off
		}
		if last, _ := s.end(); s.Partition >= 0 && last == x.Last && have != 0 && have != x.Fingerprint {
			return fmt.Errorf("%w: stream %s ends with another entry than the log has at %d", ErrDamaged, s.Stream, last)
		}
		s.Last, s.Fingerprint = x.Last, x.Fingerprint
		if s.Partition < 0 {
			s.forget(x.First)
		} else if last, _ := s.end(); last != s.Last {
			// Everything that would follow what is here has left the log.
			s.Blocks, s.Fingerprint = nil, 0
		}
	}
	r.ended = true
	return r.sink.finish(m)
}

// forget leaves out blocks of what has left a stream beside the log. A partition's stay: what
// retention took from the log, its backup still has.
func (s *Stream) forget(before uint64) {
	n := 0
	for n < len(s.Blocks) && s.Blocks[n].Last < before {
		n++
	}
	s.Blocks = s.Blocks[n:]
}

// Pack writes what [Send] sends as a tar of a backup directory, manifest last.
func Pack(ctx context.Context, in io.Reader, out io.Writer, progress func(Progress)) (Manifest, error) {
	w := tarSink{tar.NewWriter(out)}
	r := receiver{sink: w, progress: progress}
	err := r.receive(ctx, in)
	if err == nil {
		err = w.tar.Close()
	}
	return r.manifest, err
}

type tarSink struct{ tar *tar.Writer }

func (t tarSink) put(name string, data []byte) error { return putTar(t.tar, name, data) }
func (t tarSink) begun(*Manifest) error              { return nil }

func (t tarSink) finish(m *Manifest) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	return t.put(manifestFile, text)
}
