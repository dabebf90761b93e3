package projections_test

import (
	"encoding/binary"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// A summary written by a version that had the numbers of its items only in their keys can still be
// read.
func TestSummariesOfOlderStatesAreThere(t *testing.T) {
	logs := history.Logs()
	rapid.Check(t, func(t *rapid.T) {
		state := memory{}
		f := newFold(t, state, 0)
		for _, e := range logs.Draw(t, "log") {
			f.apply(e)
		}
		f.commit()
		older := memory{}
		for k, v := range state {
			if k[0] == 'S' {
				_, next := binary.Uvarint([]byte(v))
				v = v[:next]
			}
			older[k] = v
		}
		g := newFold(t, older, 0)
		for _, app := range []string{"o#a", "o#b"} {
			for _, user := range []string{"u1", "u2", "u3", "u4", "u5", "u6"} {
				want, _, err := f.part.Summary(app, user)
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := g.part.Summary(app, user)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("summary of %s in %s: %v, %v, not %v", user, app, got, err, want)
				}
			}
		}
	})
}
