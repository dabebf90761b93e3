package clickhouse

import (
	"fmt"
	"time"

	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// Block is what goes into the table events in one insert: a contiguous range of the entries of one
// partition, all of one month, so that ClickHouse makes one part of it, which is there as a whole
// or not at all. The zero Block with its Partition set is an empty one. A block can be inserted any
// number of times. It must not be copied.
type Block struct {
	Partition int
	// First and Last are the sequences of its first and last entry; 0 if it is empty.
	First, Last uint64
	// Bytes is roughly the size of its strings. Those that come again and again count once.
	Bytes int

	month           int // of the entries: year*12 + month
	lastFingerprint uint64

	columns  eventColumns
	list     []blockColumn // the fields of columns; see all
	interned interned
	// encoded is the block as the driver sends it, if it was encoded in advance.
	encoded []chcolumn.Interface
}

// all returns all columns, in the order of the table.
func (b *Block) all() []blockColumn {
	if b.list == nil {
		b.list = of[blockColumn](eventsTable, &b.columns)
	}
	return b.list
}

// Next returns an empty block of the same partition, with room for as much as this one has. It
// reuses the memory of spent, a block that is no longer needed, unless that is too little or far
// too much. spent may be nil.
func (b *Block) Next(spent *Block) *Block {
	n := b.Rows() + b.Rows()/16
	if spent != nil {
		if room := cap(spent.columns.Sequence.values); room >= b.Rows() && room <= 4*n {
			spent.reset()
			spent.Partition, spent.interned = b.Partition, b.interned
			return spent
		}
	}
	next := &Block{Partition: b.Partition, interned: b.interned}
	like := b.all()
	for i, c := range next.all() {
		c.reserve(like[i], n)
	}
	return next
}

// reset empties the block and keeps its memory.
func (b *Block) reset() {
	b.First, b.Last, b.Bytes, b.month, b.lastFingerprint, b.encoded = 0, 0, 0, 0, 0, nil
	for _, c := range b.all() {
		c.reset()
	}
}

// Rows is the number of rows.
func (b *Block) Rows() int { return b.columns.Sequence.Rows() }

// Fits reports whether an entry of a time, in Unix milliseconds, may be added: it has to be of the
// same month as the others. Anything fits an empty block.
func (b *Block) Fits(at int64) bool { return b.First == 0 || b.month == monthOf(at) }

func monthOf(ms int64) int {
	t := time.UnixMilli(ms).UTC()
	return t.Year()*12 + int(t.Month())
}

// Token names the block for deduplication. attempt is 0, unless ClickHouse remembered the token of
// an insert and did not keep its rows: then the block needs another token.
func (b *Block) Token(attempt int) string {
	token := fmt.Sprintf("RECEIPTS_%d:%d-%d", b.Partition, b.First, b.Last)
	if attempt > 0 {
		token += fmt.Sprintf("/%d", attempt)
	}
	return token
}

// Position is the position of the last entry of the block.
func (b *Block) Position() Position {
	return Position{Sequence: b.Last, Fingerprint: b.lastFingerprint}
}

// Split cuts the block between two entries, near its middle. ok is false if it has only one. The
// two share memory with the block, to which nothing may be added while they are in use.
func (b *Block) Split() (head, tail *Block, ok bool) {
	sequence := b.columns.Sequence.values
	at := b.Rows() / 2
	for at > 0 && sequence[at-1] == sequence[at] {
		at--
	}
	if at == 0 { // the middle is in the first entry
		for at < b.Rows() && sequence[at] == b.First {
			at++
		}
	}
	if at == b.Rows() {
		return nil, nil, false
	}
	return b.cut(0, at), b.cut(at, b.Rows()), true
}

// cut returns the rows [begin, end) of the block, which are whole entries.
func (b *Block) cut(begin, end int) *Block {
	out := &Block{
		Partition: b.Partition, month: b.month,
		First: b.columns.Sequence.values[begin], Last: b.columns.Sequence.values[end-1],
		lastFingerprint: b.columns.Fingerprint.values[end-1],
	}
	of := b.all()
	for i, c := range out.all() {
		c.cut(of[i], begin, end)
	}
	return out
}
