package clickhouse

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// The driver takes what it is given by Append value by value, and looks up each string of a
// LowCardinality column in a map. What it has decoded, on the other hand, it sends as it is. So the
// columns are encoded here as a server would send them, and decoded by the driver: see
// docs/adr/0010-columns-past-the-driver.md.

// transfer is the memory for handing a column to the driver.
type transfer struct {
	buf    proto.Buffer
	bytes  bytes.Reader
	reader *proto.Reader
}

var transfers = sync.Pool{New: func() any {
	t := &transfer{}
	t.reader = proto.NewReader(&t.bytes)
	return t
}}

// encoder is a column that can be written in the server's format.
type encoder interface {
	Rows() int
	EncodeColumn(*proto.Buffer)
}

// decodeInto has a column of the driver take all rows at once.
func decodeInto(to chcolumn.Interface, from encoder) error {
	t := transfers.Get().(*transfer)
	t.buf.Reset()
	from.EncodeColumn(&t.buf)
	t.bytes.Reset(t.buf.Buf)
	if err := to.Decode(t.reader, from.Rows()); err != nil {
		return err // t is not used again: it may have unread bytes
	}
	transfers.Put(t)
	return nil
}

// appendTo has a column of the driver take values one by one.
func appendTo[T any](to chcolumn.Interface, values []T) error {
	_, err := to.Append(values)
	return err
}

// encode returns columns of the driver with the rows of the columns of a table.
func encode[C column](t *table, columns []C) ([]chcolumn.Interface, error) {
	out := make([]chcolumn.Interface, len(columns))
	for i, from := range columns {
		c := &t.columns[i]
		to, err := chcolumn.Type(c.Type).Column(c.Name, &chcolumn.ServerContext{})
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		if err := from.sendTo(to); err != nil {
			return nil, fmt.Errorf("column %s: %w: %w", c.Name, errValue, err)
		}
		out[i] = to
	}
	return out, nil
}

// move gives to a column of a batch what another column of the same type has, which must not be
// used after that.
func move(to, from chcolumn.Interface) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
}

// Encode does in advance what [Store.Insert] would do before it sends the block. If the block
// cannot be encoded, Insert will return the error.
func (b *Block) Encode() {
	b.encoded, _ = encode(eventsTable, b.all())
}

// takeEncoded returns the encoded columns and forgets them, because they can be sent only once.
func (b *Block) takeEncoded() (columns []chcolumn.Interface, err error) {
	if b.encoded == nil {
		return encode(eventsTable, b.all())
	}
	columns, b.encoded = b.encoded, nil
	return columns, nil
}
