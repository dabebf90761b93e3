package httpapi

import (
	"bytes"
	"io"
	"net/http"
)

// ask calls the handler of a question to the state in its turn, which does not include the time
// that its client takes: what it sends is read before, and what it is answered is written after.
func (a *API) ask(c *call, handle func(*call) error) error {
	if c.r.Method == http.MethodPost {
		t := intakes.Get().(*intake)
		defer t.end()
		var err error
		if t.pass, err = a.gate.Enter(c.who(doorQuestions), c.r.ContentLength); err != nil {
			return a.refused(c, err)
		}
		if c.r.ContentLength > maxCountBytes {
			return tooLargeBody(maxCountBytes)
		}
		if err := t.read(c, maxCountBytes); err != nil {
			return a.refused(c, err)
		}
		c.r.Body = io.NopCloser(bytes.NewReader(*t.body))
	}
	answered, err := a.gate.Ask(c.r.Context(), c.who(doorQuestions))
	if err != nil {
		return a.refused(c, err)
	}
	answer := &heldAnswer{ResponseWriter: c.w.ResponseWriter}
	c.w.ResponseWriter = answer
	defer func() { c.w.ResponseWriter = answer.ResponseWriter }()
	err = func() error {
		defer answered() // also of a handler that panics
		return handle(c)
	}()
	answer.write()
	return err
}

// heldAnswer keeps what is answered until it is written.
type heldAnswer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// Unwrap is for http.ResponseController.
func (w *heldAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader keeps the status.
func (w *heldAnswer) WriteHeader(status int) { w.status = status }

// Write keeps a part of the body.
func (w *heldAnswer) Write(p []byte) (int, error) { return w.body.Write(p) }

// write writes what was answered, if anything was.
func (w *heldAnswer) write() {
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
	}
	if w.body.Len() > 0 {
		_, _ = w.ResponseWriter.Write(w.body.Bytes()) // an error means that the client is gone
	}
}
