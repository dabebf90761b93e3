package gateway

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
)

// Table is a list that can be had as CSV and as NDJSON.
type Table struct {
	Head []string
	Rows [][]string
	// Lines are the same as values of JSON.
	Lines []any
}

// cell is a text from outside as a cell of a CSV file. One that a spreadsheet would take for a
// formula has an apostrophe before it, which makes it a text. A number with a sign, as of a
// telephone, is none.
func cell(text string) string {
	if text == "" || !strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return text
	}
	if digits := text[1:]; (text[0] == '+' || text[0] == '-') && digits != "" && strings.Trim(digits, "0123456789") == "" {
		return text
	}
	return "'" + text
}

// WriteCSV writes the table with its head, as RFC 4180 has it. An error means that the reader is
// gone.
func (t *Table) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	_ = out.Write(t.Head) // Error has it
	for _, row := range t.Rows {
		_ = out.Write(row)
	}
	out.Flush()
	return out.Error()
}

// WriteLines writes each row as a line of JSON. An error means that the reader is gone.
func (t *Table) WriteLines(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, line := range t.Lines {
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
