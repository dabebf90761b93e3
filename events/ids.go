package events

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// The ids in one table resemble each other: most systems make them of a constant prefix and either
// a number of constant width or a UUID. Such ids are encoded as numbers, with four bytes instead of
// twelve or 16 instead of 36; the rest stay text and are left to the compression.

const (
	// maxShapes keeps random ids that happen to end in digits from each making a shape.
	maxShapes = 15
	// minDigits is where a number begins to be shorter than its text.
	minDigits = 3
	// maxDigits is the number of digits that always fits into 64 bits.
	maxDigits = 19
)

// shape is a prefix and the number of digits that follow it, or uuidDigits for a UUID.
type shape struct {
	prefix string
	digits int
	last   uint64 // the number from which the next difference is taken
}

// value is what follows the prefix of an id.
type value struct {
	number uint64
	uuid   [16]byte
}

// Fields of the Ids message.
const (
	idsPrefixes = iota + 1
	idsDigits
	idsRunShapes
	idsRunLengths
	idsNumbers
	idsLengths
	idsText
	idsUUIDs
)

// idsNames are the fields by number; repeated strings have no name here.
var idsNames = []string{"", "", "digits", "run_shapes", "run_lengths", "numbers", "lengths", "text", "uuids"}

// idWriter encodes one table of ids.
type idWriter struct {
	shapes  [maxShapes]shape
	count   int // shapes in use
	current int // shape of the run, 0 = text
	run     int // ids in the run

	runShapes, runLengths, numbers, lengths, uuids column
	text                                           []byte
}

func (w *idWriter) reset() {
	clear(w.shapes[:w.count]) // releases the prefixes
	w.count, w.current, w.run = 0, 0, 0
	w.runShapes = w.runShapes[:0]
	w.runLengths = w.runLengths[:0]
	w.numbers = w.numbers[:0]
	w.lengths = w.lengths[:0]
	w.uuids = w.uuids[:0]
	w.text = w.text[:0]
}

func (w *idWriter) add(id string) {
	var v value
	n := w.shapeOf(id, &v)
	if n != w.current {
		w.endRun()
		w.current = n
	}
	w.run++
	if n == 0 {
		w.lengths.add(uint64(len(id)))
		w.text = append(w.text, id...)
		return
	}
	s := &w.shapes[n-1]
	if s.digits == uuidDigits {
		w.uuids = append(w.uuids, v.uuid[:]...)
		return
	}
	w.numbers.add(protowire.EncodeZigZag(int64(v.number - s.last)))
	s.last = v.number
}

func (w *idWriter) endRun() {
	if w.run > 0 {
		w.runShapes.add(uint64(w.current))
		w.runLengths.add(uint64(w.run))
		w.run = 0
	}
}

// shapeOf returns the number of the id's shape, which may be a new one, and sets v; or returns 0
// for text.
func (w *idWriter) shapeOf(id string, v *value) int {
	if w.current > 0 && w.shapes[w.current-1].match(id, v) {
		return w.current
	}
	digits := trailingDigits(id)
	if size := len(id) - uuidSize; size >= 0 && parseUUID(&v.uuid, id[size:]) {
		digits = uuidDigits
	} else if digits < minDigits || digits > maxDigits {
		return 0
	}
	for i := range w.shapes[:w.count] {
		if w.shapes[i].match(id, v) {
			return i + 1
		}
	}
	if w.count == maxShapes {
		return 0
	}
	s := &w.shapes[w.count]
	s.digits = digits
	s.prefix = id[:len(id)-s.width()]
	w.count++
	s.match(id, v)
	return w.count
}

// width is how many bytes follow the prefix.
func (s *shape) width() int {
	if s.digits == uuidDigits {
		return uuidSize
	}
	return s.digits
}

func (s *shape) match(id string, v *value) (ok bool) {
	at := len(s.prefix)
	if len(id) != at+s.width() || id[:at] != s.prefix {
		return false
	}
	if s.digits == uuidDigits {
		return parseUUID(&v.uuid, id[at:])
	}
	v.number, ok = parseDigits(id[at:])
	return ok
}

// appendTo writes the table as field num of a message, unless it is empty.
func (w *idWriter) appendTo(dst []byte, num protowire.Number, buf *[]byte) []byte {
	w.endRun()
	if len(w.runShapes) == 0 {
		return dst
	}
	b := (*buf)[:0]
	var digits [maxShapes]byte
	for i := range w.shapes[:w.count] {
		b = appendString(b, idsPrefixes, w.shapes[i].prefix)
		digits[i] = byte(w.shapes[i].digits)
	}
	b = appendColumn(b, idsDigits, digits[:w.count])
	b = appendColumn(b, idsRunShapes, w.runShapes)
	b = appendColumn(b, idsRunLengths, w.runLengths)
	b = appendColumn(b, idsNumbers, w.numbers)
	b = appendColumn(b, idsLengths, w.lengths)
	b = appendColumn(b, idsText, w.text)
	b = appendColumn(b, idsUUIDs, w.uuids)
	*buf = b
	return appendBytes(dst, num, b)
}

// idReader decodes tables of ids, one after the other.
type idReader struct {
	runShapes, runLengths, lengths []uint32
	shapes                         [maxShapes]readShape
}

type readShape struct {
	prefix []byte
	digits int
	size   int // of the whole id
	last   uint64
}

// read appends the ids of an encoded table to dst; their bytes come from the arena.
func (r *idReader) read(dst []string, a *arena, data []byte) ([]string, error) {
	var fields [idsUUIDs + 1][]byte
	shapes := 0
	err := splitFields(data, idsNames, fields[:], func(_ int, prefix []byte) error {
		if shapes == maxShapes {
			return malformed("more than %d prefixes", maxShapes)
		}
		r.shapes[shapes] = readShape{prefix: prefix}
		shapes++
		return nil
	})
	if err != nil {
		return dst, err
	}
	digits := fields[idsDigits]
	if len(digits) != shapes {
		return dst, malformed("digits: %d for %d prefixes", len(digits), shapes)
	}
	for i := range r.shapes[:shapes] {
		s := &r.shapes[i]
		s.digits = int(digits[i])
		switch s.size = len(s.prefix) + s.digits; {
		case s.digits == uuidDigits:
			s.size = len(s.prefix) + uuidSize
		case s.digits < 1 || s.digits > maxDigits:
			return dst, unknown("%d digits", s.digits)
		}
		if s.size > MaxIDBytes {
			return dst, malformed("%d digits after %d bytes", s.digits, len(s.prefix))
		}
	}
	for _, c := range []struct {
		values *[]uint32
		field  int
	}{{&r.runShapes, idsRunShapes}, {&r.runLengths, idsRunLengths}, {&r.lengths, idsLengths}} {
		if *c.values, err = unpack((*c.values)[:0], fields[c.field]); err != nil {
			return dst, within(idsNames[c.field], err)
		}
	}
	bytes, err := r.measure(shapes, len(fields[idsText]))
	if err != nil {
		return dst, err
	}
	return r.expand(dst, a.alloc(bytes), fields[:])
}

// measure checks the runs and returns how many bytes all ids take.
func (r *idReader) measure(shapes, text int) (int, error) {
	if len(r.runShapes) != len(r.runLengths) {
		return 0, malformed("%d run_shapes, %d run_lengths", len(r.runShapes), len(r.runLengths))
	}
	ids, texts, bytes := 0, 0, text
	for i, n := range r.runShapes {
		run := r.runLengths[i]
		if run == 0 || run > maxColumn || ids+int(run) > maxColumn {
			return 0, malformed("run_lengths: %d after %d ids", run, ids)
		}
		ids += int(run)
		switch {
		case n == 0:
			texts += int(run)
		case int(n) > shapes:
			return 0, malformed("run_shapes: %d of %d", n, shapes)
		default:
			bytes += int(run) * r.shapes[n-1].size
		}
	}
	if texts != len(r.lengths) {
		return 0, malformed("lengths: %d for %d ids", len(r.lengths), texts)
	}
	for _, n := range r.lengths {
		if n == 0 || n > MaxIDBytes {
			return 0, malformed("lengths: %d", n)
		}
		text -= int(n)
	}
	if text != 0 {
		return 0, malformed("text: %d bytes too many", text)
	}
	return bytes, nil
}

// expand writes the ids into buf, which has exactly the bytes that they need.
func (r *idReader) expand(dst []string, buf []byte, fields [][]byte) (_ []string, err error) {
	lengths := r.lengths
	text, numbers, uuids := fields[idsText], fields[idsNumbers], fields[idsUUIDs]
	for i, n := range r.runShapes {
		run := int(r.runLengths[i])
		if n == 0 {
			for _, size := range lengths[:run] {
				copy(buf[:size], text)
				dst = append(dst, aliasString(buf[:size]))
				buf, text = buf[size:], text[size:]
			}
			lengths = lengths[run:]
			continue
		}
		s := &r.shapes[n-1]
		ids := buf[:run*s.size]
		buf = buf[len(ids):]
		if s.digits == uuidDigits {
			if uuids, err = s.expandUUIDs(ids, uuids); err != nil {
				return dst, err
			}
		} else if numbers, err = s.expandNumbers(ids, numbers); err != nil {
			return dst, err
		}
		for ; len(ids) > 0; ids = ids[s.size:] {
			dst = append(dst, aliasString(ids[:s.size]))
		}
	}
	if len(numbers) > 0 || len(uuids) > 0 {
		return dst, malformed("numbers, uuids: %d and %d bytes too many", len(numbers), len(uuids))
	}
	return dst, nil
}

// expandNumbers writes the ids of one run and returns the numbers that are left.
func (s *readShape) expandNumbers(ids, numbers []byte) ([]byte, error) {
	end := powersOf10[s.digits]
	at := len(s.prefix)
	for ; len(ids) > 0; ids = ids[s.size:] {
		z, used := varint(numbers)
		if used <= 0 {
			return nil, malformed("numbers: cut short")
		}
		numbers = numbers[used:]
		s.last += uint64(protowire.DecodeZigZag(z))
		if s.last >= end {
			return nil, malformed("numbers: %d has more than %d digits", s.last, s.digits)
		}
		id := ids[:s.size]
		copy(id, s.prefix)
		putDigits(id[at:], s.last)
	}
	return numbers, nil
}

// expandUUIDs writes the ids of one run and returns the UUIDs that are left.
func (s *readShape) expandUUIDs(ids, uuids []byte) ([]byte, error) {
	for ; len(ids) > 0; ids = ids[s.size:] {
		if len(uuids) < 16 {
			return nil, malformed("uuids: cut short")
		}
		copy(ids, s.prefix)
		putUUID(ids[len(s.prefix):s.size], uuids)
		uuids = uuids[16:]
	}
	return uuids, nil
}
