package clickhouse

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// encoded is a column that writes itself as the server has it.
type encoded interface {
	Rows() int
	EncodeColumn(*proto.Buffer)
}

// filling gives the driver whole columns. What the driver is given by Append it takes value by value, and looks each string
// of a LowCardinality up in a map; what it decodes it sends again as it is.
type filling struct {
	buf    proto.Buffer
	bytes  bytes.Reader
	reader *proto.Reader
}

var fillings = sync.Pool{New: func() any {
	f := &filling{}
	f.reader = proto.NewReader(&f.bytes)
	return f
}}

func (f *filling) fill(to column.Interface, from encoded) error {
	f.buf.Reset()
	from.EncodeColumn(&f.buf)
	f.bytes.Reset(f.buf.Buf)
	return to.Decode(f.reader, from.Rows())
}

// columnsOf are the columns of a table with values in them.
func (t *table) columnsOf(values []any) ([]column.Interface, error) {
	columns, f := make([]column.Interface, len(values)), fillings.Get().(*filling)
	for i, v := range values {
		c, err := column.Type(t.columns[i].Type).Column(t.columns[i].Name, &column.ServerContext{})
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", t.columns[i].Name, err)
		}
		if e, ok := v.(encoded); ok {
			err = f.fill(c, e)
		} else {
			_, err = c.Append(v)
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w: %w", t.columns[i].Name, errValue, err)
		}
		columns[i] = c
	}
	fillings.Put(f) // one that failed may have something left
	return columns, nil
}

// move gives a batch's column what another one of the same type has, which is not to be used any more.
func move(to, from column.Interface) { reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem()) }

// Encode does ahead what Insert does before it sends. A block that cannot be encoded is one for Insert to refuse.
func (b *Block) Encode() {
	b.ready, _ = eventsTable.columnsOf(b.values())
}

// take returns the columns, and forgets them: they are sent once.
func (b *Block) take() (columns []column.Interface, err error) {
	if b.ready == nil {
		return eventsTable.columnsOf(b.values())
	}
	columns, b.ready = b.ready, nil
	return columns, nil
}
