package blockfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/receiptd/receiptd/internal/diskread"
)

// ErrDamaged is what every damage is, as opposed to a file that cannot be read now.
var ErrDamaged = errors.New("blockfile: the files are damaged")

// Missing is what a [Damage] says where messages are missing between two blocks or records that
// are good.
const Missing = "messages are missing"

// What a [Damage] says of a block of [Options.Blocks].
const (
	MissingBlock = "the block is not there any more"
	ShortBlock   = "the block is shorter than it was"
)

// Damage is a place where a stream is not what the server wrote.
type Damage struct {
	// File and Offset are where it is.
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	// First and Last are the sequences of the messages that are lost with it, as far as can be told
	// from those around: First is the one behind the last good message, Last the one before the
	// next good one, 0 if there is none.
	First uint64 `json:"first"`
	Last  uint64 `json:"last,omitempty"`
	// What says it in words.
	What string `json:"what"`
}

func (d Damage) Error() string {
	what := fmt.Sprintf("%s at offset %d: %s", d.File, d.Offset, d.What)
	if d.Last != 0 {
		return fmt.Sprintf("%s: messages %d to %d", what, d.First, d.Last)
	}
	return fmt.Sprintf("%s: what follows message %d", what, d.First-1)
}

// Unwrap is [ErrDamaged].
func (d Damage) Unwrap() error { return ErrDamaged }

// Report is what a scan found.
type Report struct {
	// First and Last are the sequences of the first and the last message; zeros if there is none.
	// Messages is how many there are.
	First, Last, Messages uint64
	// Top is the largest sequence that any record names, those that stand for deleted
	// messages included.
	Top uint64
	// LastTime is when the last message was stored, in nanoseconds since 1970.
	LastTime int64
	// Blocks and Bytes were read.
	Blocks int
	Bytes  int64
	// Damage is in the order of the files.
	Damage []Damage
	// Torn is what the last block ends with if that is no valid record: what a crash leaves of a
	// write that was under way. nil if the block ends with a record.
	Torn *Damage
	// Skipped is how many of the oldest blocks were not read, as [Options.Newest] asked, and
	// SkippedBytes how long they are.
	Skipped      int
	SkippedBytes int64
}

// Options of a scan. The zero value reads everything.
type Options struct {
	// Contiguous is set for a stream from which no single message is ever deleted: a sequence that
	// is missing between two others is damage.
	Contiguous bool
	// Newest, if not 0, has only so many bytes of the newest blocks read, and at least the
	// last block, and those that were written to after Since.
	Newest int64
	Since  time.Time
	// Blocks are the blocks that have to be there, by number, and how long they are at least.
	Blocks map[int]int64
	// Visit, if not nil, is called with every record; its error ends the scan.
	Visit func(Record) error
	// Progress, if not nil, is called with the bytes of each block that was read.
	Progress func(bytes int64)
	// Pace, if not nil, has the blocks read from the disk itself, and is asked before each read.
	Pace diskread.Pace
}

// Scan reads the blocks of a stream through. Damage is in the report; the error is for files that
// cannot be read, and that of Visit or of ctx.
func (s *Stream) Scan(ctx context.Context, o Options) (Report, error) {
	c := scan{o: o}
	list, err := s.blocks()
	if err != nil {
		return c.report, err
	}
	if list, err = c.newest(list); err != nil {
		return c.report, err
	}
	expected := slices.Sorted(maps.Keys(o.Blocks))
	for _, b := range list {
		if err := ctx.Err(); err != nil {
			return c.report, err
		}
		expected = c.missing(s, expected, b.index)
		// The server keys each block by itself, so that one in the place of another is found out.
		c.hash = newHash(s.Name + "-" + strconv.Itoa(b.index))
		read := c.report.Bytes
		if err := c.block(b.path); err != nil {
			return c.report, err
		}
		if size := c.report.Bytes - read; size < o.Blocks[b.index] {
			c.damaged(Damage{File: b.path, Offset: size, First: c.report.Top + 1, What: ShortBlock})
		}
	}
	c.missing(s, expected, math.MaxInt)
	return c.report, nil
}

// missing reports the expected blocks before an index, and returns those behind it.
func (c *scan) missing(s *Stream, expected []int, before int) (rest []int) {
	for ; len(expected) > 0 && expected[0] < before; expected = expected[1:] {
		c.damaged(Damage{File: s.BlockPath(expected[0]), First: c.report.Top + 1, What: MissingBlock})
	}
	if len(expected) > 0 && expected[0] == before {
		return expected[1:]
	}
	return expected
}

// scan is a scan under way.
type scan struct {
	o      Options
	hash   hash.Hash64
	report Report
	buffer []byte
}

// newest leaves out the old blocks that are not to be read.
func (c *scan) newest(list []block) ([]block, error) {
	if c.o.Newest == 0 {
		return list, nil
	}
	var bytes int64
	for i := len(list) - 1; i >= 0; i-- {
		info, err := os.Stat(list[i].path)
		if err != nil {
			return nil, err
		}
		bytes += info.Size()
		switch {
		case c.report.Skipped > 0:
			c.report.SkippedBytes += info.Size()
		case bytes > c.o.Newest && i < len(list)-1 && c.old(info):
			c.report.Skipped, c.report.SkippedBytes = i+1, info.Size()
		}
	}
	return list[c.report.Skipped:], nil
}

// old reports whether nothing was written to a file for so long that it may be left out.
func (c *scan) old(info os.FileInfo) bool {
	return c.o.Since.IsZero() || info.ModTime().Before(c.o.Since)
}

func (c *scan) block(path string) error {
	data, err := c.read(path)
	if err != nil {
		return err
	}
	c.report.Blocks++
	c.report.Bytes += int64(len(data))
	if c.o.Progress != nil {
		c.o.Progress(int64(len(data)))
	}
	if data, err = decompress(data); err != nil {
		c.damaged(Damage{File: path, First: c.report.Top + 1, What: "the block cannot be decompressed"})
		return nil
	}
	for at := 0; at < len(data); {
		r, size := parse(c.hash, data[at:])
		if size == 0 {
			next, found := resync(c.hash, data[at:], c.report.Top)
			d := Damage{File: path, Offset: int64(at), First: c.report.Top + 1, What: describe(data[at:])}
			if !found {
				c.torn(d)
				return nil
			}
			at += next
			c.damaged(d)
			continue
		}
		if err := c.record(&r, path, int64(at)); err != nil {
			return err
		}
		at += size
	}
	return nil
}

// read returns a block's bytes, which are valid until the next read.
func (c *scan) read(path string) (data []byte, err error) {
	if c.o.Pace != nil {
		c.buffer, err = diskread.ReadFile(path, c.buffer, c.o.Pace)
		return c.buffer, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size := int(info.Size()); cap(c.buffer) < size {
		c.buffer = make([]byte, size+size/8)
	}
	data = c.buffer[:info.Size()]
	if n, err := io.ReadFull(f, data); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read %s at %d: %w", path, n, err)
	}
	return data, nil
}

func (c *scan) record(r *Record, path string, at int64) error {
	c.found(r.Sequence)
	switch {
	case r.Tombstone && r.Sequence <= c.report.Top:
		// It says that a message before it is gone.
	case r.Sequence > c.report.Top+1 && c.o.Contiguous && c.report.Messages > 0 && !r.Tombstone:
		if !c.open() {
			c.damaged(Damage{File: path, Offset: at, First: c.report.Top + 1, Last: r.Sequence - 1, What: Missing})
		}
	}
	c.report.Top = max(c.report.Top, r.Sequence)
	if !r.Gone {
		if c.report.First == 0 {
			c.report.First = r.Sequence
		}
		if r.Sequence > c.report.Last {
			c.report.Last, c.report.LastTime = r.Sequence, r.Time
		}
		c.report.Messages++
	}
	if c.o.Visit != nil {
		return c.o.Visit(*r)
	}
	return nil
}

// open reports whether the damage found last has no end yet: the messages missing before this
// record are lost with it.
func (c *scan) open() bool {
	n := len(c.report.Damage)
	return n > 0 && c.report.Damage[n-1].Last >= c.report.Top+1
}

// found ends what was damaged before a good record: it was no torn tail, as something follows it.
func (c *scan) found(sequence uint64) {
	if c.report.Torn != nil {
		c.damaged(*c.report.Torn)
		c.report.Torn = nil
	}
	for n := len(c.report.Damage); n > 0 && c.report.Damage[n-1].Last == 0; n-- {
		d := &c.report.Damage[n-1]
		d.Last = max(sequence-1, d.First)
		if sequence == d.First {
			d.Last = d.First // only records that stand for deleted messages, or a part of one
		}
	}
}

func (c *scan) damaged(d Damage) { c.report.Damage = append(c.report.Damage, d) }

// torn notes the end of a block that is no record.
func (c *scan) torn(d Damage) {
	if c.report.Torn != nil { // two blocks end so: the first one was no tail
		c.damaged(*c.report.Torn)
	}
	c.report.Torn = &d
}

// describe says what is wrong with a record.
func describe(b []byte) string {
	switch {
	case len(bytes.Trim(b, "\x00")) == 0:
		return fmt.Sprintf("%d bytes of zeros", len(b))
	case len(b) < recordMinSize:
		return fmt.Sprintf("%d bytes, too short for a record", len(b))
	case int64(binary.LittleEndian.Uint32(b)&^headerBit) > int64(len(b)):
		return "a record longer than the rest of its block"
	}
	return "a record that does not fit its checksum"
}

// decompress returns the records of a block, which are compressed if the operator changed the
// stream so.
func decompress(b []byte) ([]byte, error) {
	const magic = "cmp\x01"
	if !bytes.HasPrefix(b, []byte(magic)) || len(b) < len(magic)+1+recordHashSize {
		return b, nil
	}
	size, n := binary.Uvarint(b[len(magic):])
	if n <= 0 || size > recordMaxSize {
		return b, nil // a record whose length reads so
	}
	// The last hash stands behind what is compressed.
	body, sum := b[len(magic)+n:len(b)-recordHashSize], b[len(b)-recordHashSize:]
	out, err := io.ReadAll(s2.NewReader(bytes.NewReader(body)))
	if err != nil {
		return nil, err
	}
	return append(out, sum...), nil
}
