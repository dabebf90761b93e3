package clickhouse

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// What the driver is given by Append it takes value by value, and looks each string of a
// LowCardinality up in a map. What it decoded, as if a server had sent it, it sends as it is. So
// columns are encoded here, and decoded by the driver: docs/adr/0010-columns-past-the-driver.md.

// transfer is what it takes to have the driver decode a column.
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

// encoder is a column that writes itself as the server has it.
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
		return err // t may have something left to read
	}
	transfers.Put(t)
	return nil
}

// appendTo has a column of the driver take values one by one.
func appendTo[T any](to chcolumn.Interface, values []T) error {
	_, err := to.Append(values)
	return err
}

// encode returns columns of the driver that have the rows of a table's columns.
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

// move gives a column of a batch what another one of the same type has, which is not to be used any
// more.
func move(to, from chcolumn.Interface) {
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
}

// Encode does ahead what [Store.Insert] does before it sends. A block that cannot be encoded is one
// for Insert to refuse.
func (b *Block) Encode() {
	b.encoded, _ = encode(eventsTable, b.all())
}

// takeEncoded returns the encoded columns, and forgets them: they can be sent once.
func (b *Block) takeEncoded() (columns []chcolumn.Interface, err error) {
	if b.encoded == nil {
		return encode(eventsTable, b.all())
	}
	columns, b.encoded = b.encoded, nil
	return columns, nil
}
