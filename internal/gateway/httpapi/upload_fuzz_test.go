package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"

	"github.com/receiptd/receiptd/internal/gateway/admission"
)

// FuzzUpload: in whatever pieces a stream of events comes, what is read of it are whole lines, all
// of them in their order; of a line that is broken off there is nothing.
func FuzzUpload(f *testing.F) {
	good := line("bob") + line("carol")
	f.Add([]byte(good), uint8(7), false)
	f.Add([]byte(good[:len(good)-1]), uint8(1), false)
	f.Add([]byte(good[:len(good)-9]), uint8(3), true)
	f.Add([]byte("\n\r\n"+good+"{}\n"+good), uint8(200), false)
	f.Add([]byte("\xef\xbb\xbf"+good), uint8(2), false)
	a, gate := &API{draining: context.Background()}, admission.New(admission.Options{})
	f.Fuzz(func(t *testing.T, body []byte, piece uint8, cut bool) {
		var in io.Reader = &pieces{body, int(piece)%64 + 1}
		broken := errors.New("broken")
		if cut {
			in = io.MultiReader(in, iotest.ErrReader(broken))
		}
		c := &call{r: &http.Request{Body: io.NopCloser(in)}}
		u := &upload{a: a, c: c, control: http.NewResponseController(httptest.NewRecorder()), room: gate.Room(admission.Requester{})}
		defer u.leave()
		if err := u.grow(uploadBlock); err != nil {
			t.Fatal(err)
		}
		var came []byte
		var end error
		for end == nil {
			var lines []byte
			lines, end = u.read(t.Context())
			if end == nil && (len(lines) == 0 || lines[len(lines)-1] != '\n') {
				t.Errorf("%q is not whole lines", lines)
			}
			came = append(came, lines...)
		}
		want := body
		if cut {
			want = body[:bytes.LastIndexByte(body, '\n')+1]
		}
		if cut == errors.Is(end, io.EOF) || !bytes.Equal(came, want) {
			t.Errorf("%q came of %q, %v", came, want, end)
		}
	})
}

// pieces is a reader of so many bytes at a time.
type pieces struct {
	rest []byte
	size int
}

// Read implements [io.Reader].
func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
