package clickhouse

import (
	"bytes"

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

func newFilling() *filling {
	f := &filling{}
	f.reader = proto.NewReader(&f.bytes)
	return f
}

func (f *filling) fill(to column.Interface, from encoded) error {
	f.buf.Reset()
	from.EncodeColumn(&f.buf)
	f.bytes.Reset(f.buf.Buf)
	return to.Decode(f.reader, from.Rows())
}
