package clickhouse

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// column is the values of one column of a table, row by row. The zero value of each type below is
// an empty column.
type column interface {
	// chType is the column's type in ClickHouse, or enumType for an enumeration, whose names only
	// the schema has.
	chType() string
	Rows() int
	// extend adds rows of zeros or empty strings.
	extend(rows int)
	// sendTo has a column of the driver take all rows.
	sendTo(to chcolumn.Interface) error
}

// blockColumn is a column of a [Block], which keeps its memory and can be split.
type blockColumn interface {
	column
	// reset removes all rows and keeps their memory.
	reset()
	// reserve makes room in an empty column: for a number of rows, and for as many different
	// strings as like, a column of the same type, has.
	reserve(like blockColumn, rows int)
	// cut makes the column the rows [begin, end) of another column of the same type, with which it
	// may share memory.
	cut(of blockColumn, begin, end int)
	scanner
}

// scanner is a column that the result of a query can be read into, one row at a time.
type scanner interface {
	// scan makes the column one of a single row, and returns a pointer for the driver to scan that
	// row into, as often as needed, and the expression to SELECT for it. name is the quoted name.
	scan(name string) (expression string, target any)
}

// fixed is a column of values of fixed width.
type fixed[T any] struct{ values []T }

func (c *fixed[T]) Rows() int { return len(c.values) }

func (c *fixed[T]) reset() { c.values = c.values[:0] }

func (c *fixed[T]) reserve(_ blockColumn, rows int) { c.values = make([]T, 0, rows) }

func (c *fixed[T]) extend(rows int) { c.values = extended(c.values, rows) }

func (c *fixed[T]) cut(of blockColumn, begin, end int) {
	c.values = of.(interface{ rows() []T }).rows()[begin:end:end]
}

func (c *fixed[T]) rows() []T { return c.values }

func (c *fixed[T]) scan(name string) (expression string, target any) {
	c.values = make([]T, 1)
	return name, &c.values[0]
}

// extended adds zeros to a slice.
func extended[T any](s []T, n int) []T {
	from := len(s)
	s = slices.Grow(s, n)[:from+n]
	clear(s[from:])
	return s
}

// fill sets all values of a slice.
func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// number is an integer as wide as ClickHouse's type of the same name.
type number interface {
	uint16 | uint32 | uint64 | int64
}

// numbers is a column of UInt16, UInt32, UInt64 or Int64.
type numbers[T number] struct{ fixed[T] }

func (*numbers[T]) chType() string {
	return strings.NewReplacer("uint", "UInt", "int", "Int").Replace(reflect.TypeFor[T]().Name())
}

func (c *numbers[T]) sendTo(to chcolumn.Interface) error { return decodeInto(to, c) }

// EncodeColumn writes the column in the server's format.
func (c *numbers[T]) EncodeColumn(buf *proto.Buffer) {
	switch values := any(c.values).(type) {
	case []uint16:
		proto.ColUInt16(values).EncodeColumn(buf)
	case []uint32:
		proto.ColUInt32(values).EncodeColumn(buf)
	case []uint64:
		proto.ColUInt64(values).EncodeColumn(buf)
	case []int64:
		proto.ColInt64(values).EncodeColumn(buf)
	}
}

// millis is a column of times to the millisecond, as Unix milliseconds.
type millis struct{ numbers[int64] }

func (*millis) chType() string { return "DateTime64(3, 'UTC')" }

func (c *millis) scan(name string) (expression string, target any) {
	name, target = c.numbers.scan(name)
	return "toUnixTimestamp64Milli(" + name + ")", target
}

// storable bounds a time in Unix milliseconds to what a DateTime64 holds: a broken clock must not
// stop the sink.
func storable(ms int64) int64 {
	const first, last = -1_420_070_400_000, 9_904_550_400_000 // 1925, 2283
	return min(max(ms, first), last)
}

// hours is a column of full hours, as Unix seconds.
type hours struct{ numbers[uint32] }

func (*hours) chType() string { return "DateTime('UTC')" }

// lastHour is the last hour that a DateTime holds, in hours since 1970.
const lastHour = (1<<32 - 1) / 3600

// set sets a row to an hour, which is in hours since 1970.
func (c *hours) set(row int, hour int64) { c.values[row] = uint32(hourTime(hour).Unix()) }

// hourTime is the time at which an hour begins, bounded to what a DateTime holds.
func hourTime(hour int64) time.Time {
	return time.Unix(min(max(hour, 0), lastHour)*3600, 0).UTC()
}

// bools is a column of Bool.
type bools struct{ fixed[bool] }

func (*bools) chType() string { return "Bool" }

func (c *bools) sendTo(to chcolumn.Interface) error { return decodeInto(to, c) }

// EncodeColumn writes the column in the server's format.
func (c *bools) EncodeColumn(buf *proto.Buffer) { proto.ColBool(c.values).EncodeColumn(buf) }

// enums is a column of an Enum8, by number.
type enums struct{ fixed[int8] }

// enumType stands for the type of an enumeration: see enumDefinition.
const enumType = "Enum8"

func (*enums) chType() string { return enumType }

// sendTo appends the values one by one: that way the driver refuses a number that has no name,
// which the server would not.
func (c *enums) sendTo(to chcolumn.Interface) error { return appendTo(to, c.values) }

func (c *enums) scan(name string) (expression string, target any) {
	name, target = c.fixed.scan(name)
	return "toInt8(" + name + ")", target
}

// arrays is a column of arrays of numbers, which are added row by row.
type arrays[T number] struct {
	ends  []uint64 // of each row, in elements
	elems numbers[T]
}

func (c *arrays[T]) chType() string { return "Array(" + c.elems.chType() + ")" }

func (c *arrays[T]) Rows() int { return len(c.ends) }

func (c *arrays[T]) extend(rows int) { c.ends = extended(c.ends, rows) }

// add adds an element to the row that is completed next.
func (c *arrays[T]) add(elem T) { c.elems.values = append(c.elems.values, elem) }

// end completes a row. It is called for every row, in order.
func (c *arrays[T]) end(row int) { c.ends[row] = uint64(c.elems.Rows()) }

func (c *arrays[T]) sendTo(to chcolumn.Interface) error { return decodeInto(to, c) }

// EncodeColumn writes the column in the server's format.
func (c *arrays[T]) EncodeColumn(buf *proto.Buffer) {
	proto.ColUInt64(c.ends).EncodeColumn(buf)
	c.elems.EncodeColumn(buf)
}

// texts is a column of String. It does not copy the strings.
type texts struct{ values []string }

func (*texts) chType() string { return "String" }

func (c *texts) Rows() int { return len(c.values) }

func (c *texts) extend(rows int) { c.values = extended(c.values, rows) }

func (c *texts) sendTo(to chcolumn.Interface) error { return appendTo(to, c.values) }
