package web

import (
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
)

// maxLinesOnce are asked for at one time for a file.
const maxLinesOnce = 1000

// download answers with what a view lists, all of it, as a file: the lines that the API gives.
func (p *Page) download(w http.ResponseWriter, rq *request, v view) {
	table, err := v.table(p, rq)
	if err != nil {
		p.fail(w, rq, err)
		return
	}
	contentType, write := "text/csv; charset=utf-8", table.WriteCSV
	if rq.format == "ndjson" {
		contentType, write = "application/x-ndjson", table.WriteLines
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	// The name is ours: nothing of the address is in it.
	h.Set("Content-Disposition", `attachment; filename="`+v.Name+"."+rq.format+`"`)
	_ = write(w) // an error means that the client is gone
}

// formats of files, as they stand in the address.
var formats = []string{"csv", "ndjson"}

// messageTable is the readers of a message, or those who have not read it.
func (p *Page) messageTable(rq *request) (t gateway.Table, err error) {
	m, several, err := p.lookUp(rq)
	if err != nil {
		return t, err
	}
	if several != nil || m.ID == "" {
		return t, &problem{http.StatusNotFound, "No such message", "There is no one message with this id in the app."}
	}
	if m.CountsOnly {
		return t, &problem{http.StatusUnprocessableEntity, "No names", "The readers of this message are counted, and their names are not kept."}
	}
	in := m.Conversation(rq.key)
	non := rq.query.Get("list") == "nonreaders"
	for at, more := 0, true; more; more = at != 0 {
		if err := rq.Context().Err(); err != nil {
			return t, err
		}
		if non {
			page, err := p.cfg.State.NonReaders(in, m.ID, at, maxLinesOnce)
			if err != nil {
				return t, err
			}
			for _, user := range page.Users {
				t.AddNonReader(user)
			}
			at = page.Next
			continue
		}
		page, err := p.cfg.State.Readers(in, m.ID, at, maxLinesOnce)
		if err != nil {
			return t, err
		}
		for i := range page.Readers {
			t.AddReader(&page.Readers[i])
		}
		at = page.Next
	}
	return t, nil
}
