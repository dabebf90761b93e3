package runtime

import (
	"encoding/json"
	"testing"
)

// FuzzRestoreClaim: whatever a cluster says of whoever restores a log into it, it is refused, or
// names somebody: what says nothing is not taken for this process's own.
func FuzzRestoreClaim(f *testing.F) {
	f.Add([]byte(`{"holder":"h","backup":"b","cleared":true}`))
	f.Add([]byte(`{"cleared":true}`))
	f.Add([]byte(`{"holder":"h"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseRestoreClaim(text)
		if err != nil {
			return
		}
		if c.Holder == "" || c.Backup == "" {
			t.Errorf("%q is a claim of nobody: %+v", text, c)
		}
		stored, err := json.Marshal(c)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := parseRestoreClaim(stored); err != nil || again != c {
			t.Errorf("%q is stored as %q, which is %+v, %v", text, stored, again, err)
		}
	})
}
