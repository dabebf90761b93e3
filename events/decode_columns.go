package events

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// userReader resolves the references to users.
type userReader struct {
	refs []uint32
	at   int // in refs
	next uint32
	has  uint32 // users in the table
}

// user resolves the next reference; ok is false if there is none or it is out of range.
func (r *userReader) user() (user uint32, ok bool) {
	if r.at >= len(r.refs) {
		return 0, false
	}
	ref := r.refs[r.at]
	r.at++
	if ref == 0 && r.next < r.has {
		r.next++
		return r.next - 1, true
	}
	return r.next - ref, ref-1 < r.next
}

func (r *userReader) malformed() error {
	return malformed("user_refs: bad value or none with %d of %d users known", r.next, r.has)
}

// readParticipants decodes the users of the single chats and the user who acted in each event.
func (b *Batch) readParticipants(sides []byte) error {
	keys := b.scratch.convKeys
	r := userReader{refs: b.scratch.columns.userRefs, has: uint32(len(b.Users))}
	known, side := uint32(0), 0
	users := b.User[:len(b.Conv)]
	kinds := b.Kinds[:len(b.Conv)]
	for i, conv := range b.Conv {
		l := &keys[conv]
		if conv == known {
			known++
			if l.typ == convSingle {
				if err := b.readPair(conv, &r); err != nil {
					return err
				}
			}
		}
		switch {
		case l.typ == convSingle:
			if side>>3 >= len(sides) {
				return malformed("sides: cut short after %d", side)
			}
			if users[i] = l.a; sides[side>>3]>>(side&7)&1 != 0 {
				users[i] = l.b
			}
			side++
		case layouts[kinds[i]].user:
			user, ok := r.user()
			if !ok {
				return r.malformed()
			}
			users[i] = user
		default:
			users[i] = None
		}
	}
	switch {
	case len(sides) != (side+7)/8:
		return malformed("sides: %d bytes for %d events", len(sides), side)
	case r.at != len(r.refs):
		return malformed("user_refs: %d of %d used", r.at, len(r.refs))
	case r.next != r.has:
		return malformed("users: %d of %d used", r.next, r.has)
	}
	return nil
}

// readPair sets the users of a single chat.
func (b *Batch) readPair(conv uint32, r *userReader) error {
	l, c := &b.scratch.convKeys[conv], &b.Conversations[conv]
	var ok1, ok2 bool
	l.a, ok1 = r.user()
	l.b, ok2 = r.user()
	if !ok1 || !ok2 {
		return r.malformed()
	}
	c.A, c.B = b.Users[l.a], b.Users[l.b]
	if strings.Compare(c.A, c.B) >= 0 {
		return malformed("conversation %d: its users are not in order", conv)
	}
	return nil
}

// readOptional decodes the columns that only some batches have.
func (b *Batch) readOptional(times []byte) error {
	if len(times) > 0 {
		if err := b.readTimes(times); err != nil {
			return within(batchNames[batchTimes], err)
		}
	}
	c := &b.scratch.columns
	if slices.ContainsFunc(c.runFlags, func(flags uint32) bool { return Flags(flags)&FlagImported != 0 }) {
		if err := b.checkImported(); err != nil {
			return err
		}
	}
	if err := b.readContents(); err != nil {
		return err
	}
	var err error
	if b.EventIDs, err = b.readTexts(b.EventIDs, c.eventIDGaps, c.eventIDs, MaxEventIDBytes); err != nil {
		return within(batchNames[batchEventIDs], err)
	}
	if b.Uptos, err = b.readTexts(b.Uptos, c.uptoGaps, c.uptos, MaxIDBytes); err != nil {
		return within(batchNames[batchUptos], err)
	}
	for i, upto := range b.Uptos {
		if upto != "" && !layouts[b.Kinds[i]].upto {
			return malformed("uptos: one for %s, event %d", b.Kinds[i], i)
		}
	}
	if b.Labels, err = b.readTexts(b.Labels, c.labelGaps, c.labels, MaxLabelBytes); err != nil {
		return within(batchNames[batchLabels], err)
	}
	for i, label := range b.Labels {
		if label != "" && !layouts[b.Kinds[i]].label {
			return malformed("labels: one for %s, event %d", b.Kinds[i], i)
		}
	}
	return nil
}

// checkImported checks that what is imported says when it happened, and can be imported.
func (b *Batch) checkImported() error {
	for i, flags := range b.Flags {
		switch {
		case flags&FlagImported == 0:
		case b.Kinds[i].Internal():
			return malformed("run_flags: %s, event %d, cannot be imported", b.Kinds[i], i)
		case len(b.Times) == 0 || b.Times[i] < minTime:
			return malformed("times: none for event %d, which is imported", i)
		}
	}
	return nil
}

// readTexts spreads the texts that some events have over a column for all of them.
func (b *Batch) readTexts(column []string, gaps []uint32, texts []string, most int) ([]string, error) {
	if len(gaps) != len(texts) {
		return column, malformed("%d gaps for %d texts", len(gaps), len(texts))
	}
	if len(texts) == 0 {
		return column[:0], nil
	}
	column = resize(column, b.Len())
	fill(column, "")
	event := -1
	for i, text := range texts {
		event += int(gaps[i]) + 1
		if event >= b.Len() || text == "" || len(text) > most {
			return column, malformed("%d bytes for event %d", len(text), event)
		}
		column[event] = text
	}
	return column, nil
}

func (b *Batch) readTimes(data []byte) error {
	b.Times = resize(b.Times, b.Len())
	last, given := int64(0), false
	for i := range b.Times {
		v, used := varint(data)
		if used <= 0 {
			return malformed("cut short after %d", i)
		}
		data = data[used:]
		if v == 0 {
			b.Times[i] = 0
			continue
		}
		last += protowire.DecodeZigZag(v - 1)
		b.Times[i] = last
		given = true
	}
	if len(data) > 0 || !given {
		return malformed("%d bytes too many, or no time at all", len(data))
	}
	return nil
}

func (b *Batch) readContents() error {
	c := &b.scratch.columns
	if len(c.contentGaps) != len(c.contentRefs) {
		return malformed("%d content_gaps, %d content_refs", len(c.contentGaps), len(c.contentRefs))
	}
	if len(c.contentRefs) > 0 {
		b.Content = resize(b.Content, b.Len())
		fill(b.Content, None)
	}
	next, event := uint32(0), -1
	for i, ref := range c.contentRefs {
		event += int(c.contentGaps[i]) + 1
		if event >= b.Len() || !layouts[b.Kinds[event]].content {
			return malformed("content_gaps: %d leads to event %d", c.contentGaps[i], event)
		}
		if ref > next || ref == 0 && int(next) == len(b.Contents) {
			return malformed("content_refs: %d after %d contents of %d", ref, next, len(b.Contents))
		}
		b.Content[event] = next - ref
		if ref == 0 {
			next++
		}
	}
	if int(next) != len(b.Contents) {
		return malformed("contents: %d of %d used", next, len(b.Contents))
	}
	return nil
}
