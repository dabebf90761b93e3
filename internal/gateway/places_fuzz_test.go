package gateway

import (
	"testing"

	"github.com/receiptd/receiptd/projections"
)

// FuzzPlace: whatever place in a user's conversations comes from a client, it is none, or the place
// of a conversation, and of a message in it, that can be told again; a walk from there finds no
// conversation twice.
func FuzzPlace(f *testing.F) {
	list := []projections.ConversationView{{Group: "a"}, {Group: "g"}, {Peer: "ben"}, {Peer: "zoe"}}
	for i := range list {
		f.Add(walkPlace(&list[i], 7))
	}
	f.Add(walkPlace(&projections.ConversationView{Group: "b"}, 1<<64-1))
	f.Add("")
	f.Add("\x80\x00pben")
	f.Add("\x07g")
	f.Fuzz(func(t *testing.T, place string) {
		v, before, ok := walkAt(place)
		if ok && place != "" {
			again := walkPlace(&v, before)
			if w, n, ok := walkAt(again); !ok || w.Group != v.Group || w.Peer != v.Peer || n != before {
				t.Errorf("%q is told as %q", place, again)
			}
			if (v.Group == "") == (v.Peer == "") {
				t.Errorf("%q is of group %q, peer %q", place, v.Group, v.Peer)
			}
		}
		seen := map[string]bool{}
		next, walked, err := Walk(list, place, 10, func(v *projections.ConversationView, from uint64, _ int) (int, int, uint64, error) {
			name := ConversationPlace(v.Group, v.Peer)
			if seen[name] {
				t.Errorf("%q: %s is walked through twice", place, name)
			}
			if first := len(seen) == 0; from != 0 && (!first || from != before) {
				t.Errorf("%q: %s from %d on", place, name, from)
			}
			seen[name] = true
			return 1, 1, 0, nil
		})
		if err != nil || walked != ok || next != "" {
			t.Errorf("%q: next %q, %v, %v; it is a place: %v", place, next, walked, err, ok)
		}
	})
}
