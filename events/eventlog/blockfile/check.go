package blockfile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"
)

const (
	// checkReads is in how many reads, one after the other, something has to be damaged to be
	// believed: the server writes meanwhile.
	checkReads = 4
	checkPause = 60 * time.Millisecond
)

// Check reads the blocks of a stream through while the server uses them. Blocks come and go, are
// written to and written anew; what is damage stays, in the same place, through several reads. The
// newest block's end is damage too if it stays as it is: a write that is under way does not. The
// error is for files that cannot be read, and that of Visit, Pace or ctx.
func (s *Stream) Check(ctx context.Context, o Options) (Report, error) {
	var all Report
	list, err := s.blocks()
	if err != nil {
		return all, err
	}
	var buffer []byte
	before := -1 // the block before, if it was whole and is still there
	for i, b := range list {
		c := scan{o: o, buffer: buffer}
		gone, err := s.checkBlock(ctx, &c, b, all.Top)
		buffer = c.buffer
		if err != nil {
			return all, err
		}
		if gone {
			before = -1
			continue
		}
		r := &c.report
		whole := len(r.Damage) == 0
		if before >= 0 && whole && o.Contiguous && r.First > all.Top+1 && exists(list[before].path) && exists(b.path) {
			r.Damage = append(r.Damage, Damage{File: b.path, First: all.Top + 1, Last: r.First - 1, What: Missing})
		}
		if before = -1; whole && r.Messages > 0 {
			before = i
		}
		all.add(r)
	}
	return all, nil
}

// add adds the report of a block.
func (r *Report) add(b *Report) {
	if r.First == 0 {
		r.First = b.First
	}
	if b.Last > r.Last {
		r.Last, r.LastTime = b.Last, b.LastTime
	}
	r.Top, r.Messages = max(r.Top, b.Top), r.Messages+b.Messages
	r.Blocks, r.Bytes = r.Blocks+b.Blocks, r.Bytes+b.Bytes
	r.Damage = append(r.Damage, b.Damage...)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkBlock reads one block until it is whole, or what is damaged in it has stayed the same. gone
// says that the file is not there any more.
func (s *Stream) checkBlock(ctx context.Context, c *scan, b block, top uint64) (gone bool, err error) {
	var stays []Damage
	for read := range checkReads {
		c.hash, c.report = newHash(s.Name+"-"+strconv.Itoa(b.index)), Report{Top: top}
		size := int64(0)
		if info, err := os.Stat(b.path); err == nil {
			size = info.Size()
		}
		err := c.block(b.path)
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		found := c.report.Damage
		if c.report.Torn != nil {
			found, c.report.Torn = append(found, *c.report.Torn), nil
		}
		if read > 0 { // only what was there the last time too
			found = slices.DeleteFunc(found, func(d Damage) bool {
				return !slices.ContainsFunc(stays, func(was Damage) bool { return was.Offset == d.Offset })
			})
		} else {
			found = slices.DeleteFunc(found, func(d Damage) bool { return d.Offset >= size })
		}
		if stays = found; len(stays) == 0 {
			break
		}
		select {
		case <-time.After(checkPause):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	c.report.Damage = stays
	return false, nil
}
