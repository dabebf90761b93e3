package httpapi

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// Whatever body comes where a few fields are expected, it is refused with an error for the client,
// or what was read of it is all that it says: a pair of users has no null in it, a choice that is
// not there is left as it is, and the same is read when it is said plainly.
func FuzzBody(f *testing.F) {
	for _, text := range []string{
		`{"users":"ann,ben"}`, `{"users":["ann","ben"]}`, `{"users":[null]}`, `{"users":null}`, `{"users":7}`, `{"users":""}`,
		`{"send":true}`, `{"send":false}`, `{"send":null}`, `{"send":"true"}`, `{"send":true,"send":false}`,
		`{"ids":["a",null]}`, `{"ids":[null]}`, `{"ids":["a","a"]}`, `{"Ids":["a"]}`, ` {} `, `null`, `[]`, ``, `{"ids":["\ud800"]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var body struct {
			Users userPair    `json:"users"`
			Send  choiceField `json:"send"`
			IDs   []string    `json:"ids"`
		}
		c := &call{r: httptest.NewRequest("POST", "/", bytes.NewReader(text)), w: &response{ResponseWriter: httptest.NewRecorder()}}
		if err := c.readJSON(smallBody, &body); err != nil {
			if _, refused := errors.AsType[*apiError](err); !refused {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		said := string(text)
		// Each field is there if its name is, escaped or not: then it is not null, but for a
		// choice.
		plain := !strings.Contains(said, `\`)
		if plain && strings.Contains(said, `"users"`) && body.Users == nil && body.IDs == nil {
			t.Errorf("%q: users are read as none", text)
		}
		if plain && !strings.Contains(said, `"send"`) && body.Send.choice != nil {
			t.Errorf("%q: a choice that is not there is %d", text, *body.Send.choice)
		}
		if choice := body.Send.choice; choice != nil && *choice == events.ChoiceSend && plain && !strings.Contains(said, "true") {
			t.Errorf("%q: a choice to send that nobody has", text)
		}
		for _, id := range append(body.IDs, body.Users...) {
			if plain && (!strings.Contains(said, id) || id == "" && !strings.Contains(said, `""`) && !strings.Contains(said, ",")) {
				t.Errorf("%q: %q is read", text, id)
			}
		}
	})
}
