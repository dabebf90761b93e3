package web

import (
	"bytes"
	"net/http"

	"github.com/receiptd/receiptd/internal/fair"
	"github.com/receiptd/receiptd/internal/gateway"
)

// maxLinesOnce are asked for at one time for a file.
const maxLinesOnce = 1000

// downloadsAtOnce is how many files are made at a time. Each is in memory as a whole. Addresses
// share them.
const downloadsAtOnce = 2

// download answers with what a view lists, all of it, as a file: the lines that the API gives.
func (p *Page) download(w http.ResponseWriter, rq *request, v view) {
	var file bytes.Buffer
	if err := p.makeFile(rq, v, &file); err != nil {
		p.fail(w, rq, err)
		return
	}
	contentType := "text/csv; charset=utf-8"
	if rq.format == "ndjson" {
		contentType = "application/x-ndjson"
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	// The name is ours: nothing of the address is in it.
	h.Set("Content-Disposition", `attachment; filename="`+v.Name+"."+rq.format+`"`)
	_, _ = w.Write(file.Bytes()) // an error means that the client is gone
}

// makeFile makes a file once there is room for one more. It is written in one piece afterwards:
// those who take their time to read keep nobody from theirs, and what they leave waiting counts.
func (p *Page) makeFile(rq *request, v view, file *bytes.Buffer) error {
	room, err := p.downloads.Acquire(rq.Context(), fair.Key{App: gateway.Address(rq.RemoteAddr)}, 1)
	if err != nil {
		return &problem{http.StatusServiceUnavailable, "Not now", "Others are downloading. Try again in a moment."}
	}
	defer p.downloads.Release(room)
	table, err := v.table(p, rq)
	if err != nil {
		return err
	}
	if rq.format == "ndjson" {
		return table.WriteLines(file)
	}
	return table.WriteCSV(file)
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
