package clickhouse

import (
	"reflect"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/receiptd/receiptd/schema"
)

// table is a table of ClickHouse as inserts and questions name it. Its columns are the fields of a
// struct that have a tag ch, in their order: the name of a column, and maybe an option after a
// comma, by which questions pick columns. A test compares them with what the migrations make.
type table struct {
	name    string
	columns []clickhouse.ColumnNameAndType
	fields  [][]int  // of the struct, by column
	options []string // by column
}

// tableOf describes a table whose columns are the fields of C.
func tableOf[C any](name string) *table {
	t := &table{name: name}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[C]()) {
		tag, ok := field.Tag.Lookup("ch")
		if !ok {
			continue
		}
		column, option, _ := strings.Cut(tag, ",")
		chType := newColumn(field.Type).chType()
		if chType == enumType {
			chType = enumDefinition(column)
		}
		t.columns = append(t.columns, clickhouse.ColumnNameAndType{Name: column, Type: chType})
		t.fields, t.options = append(t.fields, field.Index), append(t.options, option)
	}
	return t
}

func newColumn(t reflect.Type) column { return reflect.New(t).Interface().(column) }

// of returns the columns in a struct like the one that the table was described by. C is column or
// an interface that all of them have.
func of[C column](t *table, values any) []C {
	columns, v := make([]C, len(t.fields)), reflect.ValueOf(values).Elem()
	for i, field := range t.fields {
		columns[i] = v.FieldByIndex(field).Addr().Interface().(C)
	}
	return columns
}

// extended returns the columns in such a struct, after rows were added to each of them.
func (t *table) extended(values any, rows int) []column {
	columns := of[column](t, values)
	for _, c := range columns {
		c.extend(rows)
	}
	return columns
}

// scan returns what a SELECT has to ask for to get the columns that have an option, and where to
// scan its rows to: the first row of these columns in such a struct.
func (t *table) scan(values any, option string) (expressions []string, targets []any) {
	v := reflect.ValueOf(values).Elem()
	for i, field := range t.fields {
		if t.options[i] == option {
			c := v.FieldByIndex(field).Addr().Interface().(scanner)
			expression, target := c.scan(identifier(t.columns[i].Name))
			expressions, targets = append(expressions, expression), append(targets, target)
		}
	}
	return expressions, targets
}

// insert is the statement, without its values.
func (t *table) insert() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = identifier(c.Name)
	}
	return "INSERT INTO " + t.name + " (" + strings.Join(names, ", ") + ")"
}

// enumDefinition takes the type of an enumeration of the table events from its migration, which has
// the names.
func enumDefinition(column string) string {
	text, err := schema.ClickHouse.ReadFile("clickhouse/0001_events.sql")
	if err != nil {
		panic(err) // embedded
	}
	_, rest, _ := strings.Cut(string(text), "\n    "+column+" ")
	definition, _, _ := strings.Cut(strings.TrimSpace(rest), ")")
	return strings.Join(strings.Fields(definition), " ") + ")"
}
