package store

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// The changes of a checkpoint are in the order of their keys, the last one of each, whatever
// prefixes the keys share.
func TestChangesAreSorted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := changes{background: background{waiting: new(atomic.Int32)}}
		key := rapid.Custom(func(t *rapid.T) []byte {
			table := rapid.SampledFrom([]string{"a", "b", "a12345678", "a123456789"}).Draw(t, "table")
			rest := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'x', 255}), 0, 12).Draw(t, "rest")
			return append([]byte(table), rest...)
		})
		last := map[string]string{}
		for n := range rapid.IntRange(0, 60).Draw(t, "n") {
			k := key.Draw(t, "key")
			value, del := fmt.Sprint(n), rapid.Bool().Draw(t, "del")
			if del {
				value = ""
			}
			x.add(k, []byte(value), del)
			last[string(k)] = value
		}
		x.sort()
		if len(x.list) != len(last) || !slices.IsSortedFunc(x.list, func(a, b change) int { return bytes.Compare(x.keyOf(&a), x.keyOf(&b)) }) {
			t.Fatalf("%d of %d keys, sorted %q", len(x.list), len(last), keysOf(&x))
		}
		for i := range x.list {
			if got, want := string(x.value(i)), last[string(x.key(i))]; got != want || x.list[i].del != (want == "") {
				t.Errorf("%q: %q, want %q", x.key(i), got, want)
			}
		}
	})
}

func keysOf(x *changes) string {
	var list []string
	for i := range x.list {
		list = append(list, string(x.key(i)))
	}
	return strings.Join(list, " ")
}
