package cluster

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// quiet is a bus that takes what is told.
type quiet struct{ Bus }

func (quiet) Tell(string, []byte) error { return nil }

// TestOthersAreThoseThatAreHeardOf, and to a process that stood still those that were so before.
func TestOthersAreThoseThatAreHeardOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMembers(quiet{}, "a", "1", 1, func() beat { return beat{Node: "a", Life: "1", Log: 1} })
		live := func(d time.Duration, heard ...string) {
			for range d / beatEvery {
				m.tell()
				for _, node := range heard {
					text, err := json.Marshal(beat{Node: node, Life: "1", Log: 1})
					if err != nil {
						t.Fatal(err)
					}
					m.receive(text)
				}
				time.Sleep(beatEvery) // of the bubble
			}
		}
		want := func(names ...string) {
			t.Helper()
			if got := m.others(); !slices.Equal(got, names) {
				t.Errorf("heard of are %q, want %q", got, names)
			}
		}
		want()
		live(10*time.Second, "c", "b")
		want("b", "c")
		live(silentAfter, "b")
		want("b", "c")
		live(goneAfter-silentAfter, "b")
		want("b")
		time.Sleep(time.Minute) // in which this process stood still
		live(beatEvery, "d")
		want("b", "c", "d")
		live(goneAfter, "d")
		want("d")
	})
}
