package projections

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// A roster finds whoever was added, by the name that they were added with, and nobody else.
func TestRosterFindsMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r roster
		var members []member
		ordinals := map[string]uint32{}
		for range rapid.IntRange(0, 300).Draw(t, "names") {
			user := rapid.StringMatching(`[a-d]{0,5}`).Draw(t, "name")
			o, known := r.find(members, user, nameHash(user))
			if want, is := ordinals[user]; known != is || o != want {
				t.Fatalf("%q is %d, %t; want %d, %t", user, o, known, want, is)
			}
			if !known {
				ordinals[user] = uint32(len(members))
				members = append(members, member{user: user})
				r.add(members, ordinals[user])
			}
		}
		for user, want := range ordinals {
			if o, known := r.find(members, user, nameHash(user)); !known || o != want {
				t.Fatalf("at the end %q is %d, %t; want %d", user, o, known, want)
			}
		}
	})
}

// Names with one hash are told apart by the names, whatever slot they begin at.
func TestRosterTellsNamesOfOneHashApart(t *testing.T) {
	for _, hash := range []uint64{0, 7, 1<<32 + 5, ^uint64(0)} {
		r := roster{slots: make([]uint64, 8)}
		var members []member
		for o := range uint32(4) {
			members = append(members, member{user: fmt.Sprint("user", o)})
			r.put(hash, o)
			r.count++
		}
		for o := range uint32(4) {
			if got, known := r.find(members, fmt.Sprint("user", o), hash); !known || got != o {
				t.Errorf("hash %x: user%d is %d, %t", hash, o, got, known)
			}
		}
		if o, known := r.find(members, "user9", hash); known {
			t.Errorf("hash %x: a stranger is %d", hash, o)
		}
	}
}
