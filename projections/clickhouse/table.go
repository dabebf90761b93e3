package clickhouse

import (
	"reflect"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// table describes a table of ClickHouse. Its columns are the fields of a struct that have a tag ch,
// in order. The tag is the name of the column, and optionally, after a comma, the group of columns
// that a SELECT reads together. A test compares the columns with what the migrations make.
type table struct {
	name    string
	columns []clickhouse.ColumnNameAndType
	fields  [][]int  // by column: where the struct has it
	groups  []string // by column
}

// tableOf describes a table whose columns are the fields of C.
func tableOf[C any](name string) *table {
	t := &table{name: name}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[C]()) {
		tag, ok := field.Tag.Lookup("ch")
		if !ok {
			continue
		}
		column, group, _ := strings.Cut(tag, ",")
		chType := newColumn(field.Type).chType()
		if chType == enumType {
			chType = enumDefinition(column)
		}
		t.columns = append(t.columns, clickhouse.ColumnNameAndType{Name: column, Type: chType})
		t.fields, t.groups = append(t.fields, field.Index), append(t.groups, group)
	}
	return t
}

func newColumn(t reflect.Type) column { return reflect.New(t).Interface().(column) }

// of returns the columns of the table in values, which points to a struct of the type that the
// table was described with. C is an interface that all of them implement.
func of[C column](t *table, values any) []C {
	columns, v := make([]C, len(t.fields)), reflect.ValueOf(values).Elem()
	for i, field := range t.fields {
		columns[i] = v.FieldByIndex(field).Addr().Interface().(C)
	}
	return columns
}

// extended adds rows to every column in values, and returns the columns: see of.
func (t *table) extended(values any, rows int) []column {
	columns := of[column](t, values)
	for _, c := range columns {
		c.extend(rows)
	}
	return columns
}

// scan returns the expressions to SELECT for a group of columns, and the pointers to scan its rows
// into: those of the only row that these columns have in values (see of) from now on.
func (t *table) scan(values any, group string) (expressions []string, targets []any) {
	v := reflect.ValueOf(values).Elem()
	for i, field := range t.fields {
		if t.groups[i] == group {
			c := v.FieldByIndex(field).Addr().Interface().(scanner)
			expression, target := c.scan(identifier(t.columns[i].Name))
			expressions, targets = append(expressions, expression), append(targets, target)
		}
	}
	return expressions, targets
}

// insert is the INSERT statement, without the values.
func (t *table) insert() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = identifier(c.Name)
	}
	return "INSERT INTO " + t.name + " (" + strings.Join(names, ", ") + ")"
}

// enumDefinition is the type of an enumeration of the table events, taken from the last migration
// that makes or changes the column: the names are only there.
func enumDefinition(column string) (definition string) {
	list, err := migrations()
	if err != nil {
		panic(err) // they are embedded
	}
	// A view may begin a line with the column, too.
	declared := regexp.MustCompile(`(?m)^    (?:MODIFY COLUMN )?` + column + `\s+(Enum8\([^)]*\))`)
	for i := range list {
		if m := declared.FindStringSubmatch(list[i].SQL); m != nil {
			definition = strings.Join(strings.Fields(m[1]), " ")
		}
	}
	return definition
}
