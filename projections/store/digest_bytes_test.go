package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Two states have the same digest only if they have the same keys with the same values.
func TestDigestCoversKeysAndValues(t *testing.T) {
	seen := map[string]string{}
	for _, state := range []map[string]string{
		{}, {"a": ""}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a1": ""}, {"a": "1", "b": ""}, {"a": "", "b": "1"}, {"a": "1b"},
	} {
		s, err := Open("state", Options{FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range state {
			if err := s.db.Set([]byte(k), []byte(v), pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
		snap := s.Snapshot()
		digest, keys, err := snap.Digest(t.Context())
		if err != nil || keys != len(state) {
			t.Fatalf("%v: %d keys, %v", state, keys, err)
		}
		for other, is := range seen {
			if is == digest {
				t.Errorf("%v and %s have the same digest", state, other)
			}
		}
		name := ""
		for k, v := range state {
			name += k + "=" + v + " "
		}
		seen[name] = digest
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
