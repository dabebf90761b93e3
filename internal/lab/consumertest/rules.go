package consumertest

import (
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// SetRules has the state in a directory, which nobody uses, say that earlier rules folded it. Their
// number is the last one in the value of the key that says where the state stands.
func SetRules(t testing.TB, dir string, rules uint64) {
	t.Helper()
	db := Must[*pebble.DB](t)(pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatNewest}))
	key := []byte("!")
	v, closer, err := db.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	value := binary.AppendUvarint(append([]byte(nil), v[:len(v)-1]...), rules)
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Set(key, value, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
