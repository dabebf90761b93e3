package gateway

import (
	"errors"
	"testing"
)

// Whatever positions come, they are of partitions that there are.
func FuzzPositions(f *testing.F) {
	fresh := Freshness{Log: 0x1122334455667788, Partitions: 2}
	for _, text := range []string{"0:12,1:44", "0:12@1122334455667788", "0:1@0000000000000007", "2:1", "0:18446744073709551615", ",", "@"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := fresh.parse("at_least", text, "")
		if _, refused := errors.AsType[*PositionError](err); err != nil && !refused {
			t.Fatalf("%q: %v", text, err)
		}
		for _, p := range list {
			if p.Partition < 0 || p.Partition > 1 || int64(p.Sequence) < 0 {
				t.Fatalf("%q: %+v", text, p)
			}
		}
	})
}
