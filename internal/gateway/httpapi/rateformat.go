package httpapi

import (
	"encoding/csv"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

// rateFormat is a media type that read rates can be had in.
type rateFormat string

const (
	rateJSON   rateFormat = "application/json"
	rateNDJSON rateFormat = "application/x-ndjson"
	rateCSV    rateFormat = "text/csv"
)

// rateFormatOf is the first format named in an Accept header; JSON if none is.
func rateFormatOf(accept string) rateFormat {
	for _, one := range strings.Split(accept, ",") {
		name, _, _ := mime.ParseMediaType(one)
		switch format := rateFormat(name); format {
		case rateJSON, rateNDJSON, rateCSV:
			return format
		}
	}
	return rateJSON
}

func itoa(n int) string { return strconv.Itoa(n) }

// writeLines writes each row as a line of JSON.
func (b *ratesBody) writeLines(w io.Writer) error {
	for i := range b.Rows {
		line, err := json.Marshal(&b.Rows[i])
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return nil // the client is gone
		}
	}
	return nil
}

// rateColumns are the columns of a table of read rates, after the key.
var rateColumns = []string{
	"messages", "eligible", "delivered", "read", "recalled", "read_rate",
	"p50_ms", "p90_ms", "p99_ms", "recipients_p50_ms", "recipients_p90_ms",
}

// values are the numbers in the order of rateColumns; what is not known is empty.
func (n *rateNumbers) values() (values []string) {
	for _, v := range []uint64{n.Messages, n.Eligible, n.Delivered, n.Read, n.Recalled} {
		values = append(values, strconv.FormatUint(v, 10))
	}
	for _, v := range []*float64{&n.ReadRate, n.P50, n.P90, n.P99, n.R50, n.R90} {
		text := ""
		if v != nil {
			text = strconv.FormatFloat(*v, 'f', -1, 64)
		}
		values = append(values, text)
	}
	return values
}

// writeCSV writes the rows as a table with a head, as RFC 4180 has it.
func (b *ratesBody) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	head := append([]string{"key"}, rateColumns...)
	if b.Compared != nil {
		for _, name := range rateColumns {
			head = append(head, "compared_"+name)
		}
	}
	_ = out.Write(head) // an error means that the client is gone
	for i := range b.Rows {
		r := &b.Rows[i]
		line := append([]string{r.Key}, r.values()...)
		if r.Compared != nil {
			line = append(line, r.Compared.values()...)
		}
		_ = out.Write(line)
	}
	out.Flush()
	return nil
}
