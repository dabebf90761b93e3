package presence

import (
	"encoding/json"
	"testing"
	"time"
)

// FuzzWhereabouts: whatever another node asks, the answer is one to its question, and nothing
// changes for users whom it does not name; whatever it answers, users are found only among those
// that were asked about.
func FuzzWhereabouts(f *testing.F) {
	for _, text := range []string{
		`null`, `{"app":"acme#chat","users":["ann","zoe","ann"]}`, `{"app":"acme#chat","users":["zoe"],"until_ms":9223372036854775807}`,
		`{"online":[0,2]}`, `{"online":[-1]}`, `{"online":[3]}`, `{"problem":"x"}`, `{"online":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		here := connected("ann", "ben")
		var q question
		named := map[string]bool{}
		if json.Unmarshal(text, &q) == nil && q.App == app {
			for _, user := range q.Users {
				named[user] = true
			}
		}
		x, err := parseReply(answer(here, text), len(q.Users))
		if err == nil && len(x.Online) > len(q.Users) {
			t.Errorf("%q: %d of %d are online", text, len(x.Online), len(q.Users))
		}
		for _, user := range []string{"ann", "ben"} {
			if until := here.until(user); until != (time.Time{}) && !named[user] {
				t.Errorf("%q: %s is renewed until %v", text, user, until)
			}
		}
		if x, err := parseReply(text, 3); err == nil {
			for _, i := range x.Online {
				if i < 0 || i > 2 {
					t.Errorf("%q: user %d of 3 is online", text, i)
				}
			}
		}
	})
}
