package cluster

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"testing"
)

// FuzzClaim: whatever the bucket has of a writer, it is refused, or can be
// followed by a claim that is told from it.
func FuzzClaim(f *testing.F) {
	f.Add([]byte(`{"node":"a","life":"1","term":7}`))
	f.Add([]byte(`{"node":"a","term":18446744073709551615}`))
	f.Add([]byte(`{"node":"a","life":"1"}`))
	f.Add([]byte(`{"term":7}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseClaim(text)
		if err != nil {
			return
		}
		if c.Term+1 < 2 {
			t.Errorf("%q: %+v", text, c)
		}
		same(t, text, c, parseClaim)
		next := claim{owner{"b", "2"}, c.Term + 1}
		if next.Term < math.MaxUint64 {
			same(t, text, next, parseClaim)
		}
	})
}

// FuzzPart: whatever the bucket has of a part of a writer's work, it is refused, or is of a writer,
// and its note is what the next writer stores again as it takes the part over.
func FuzzPart(f *testing.F) {
	f.Add([]byte(`{"term":7,"note":{"sequence":9}}`))
	f.Add([]byte(`{"term":7}`))
	f.Add([]byte(`{"note":1}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePart(text)
		if err != nil {
			return
		}
		if p.Term == 0 || p.Note != nil && !json.Valid(p.Note) {
			t.Errorf("%q: %+v", text, p)
		}
		stored, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := parsePart(stored)
		if err != nil || again.Term != p.Term || !sameJSON(again.Note, p.Note) {
			t.Errorf("%q is stored as %q, which is %+v, %v", text, stored, again, err)
		}
	})
}

// FuzzFloor: whatever the bucket has of what a node no longer needs of the log, it is refused, or
// says of a partition what it lists for it, and that all is needed if it lists nothing: nobody's
// entries leave the log by mistake.
func FuzzFloor(f *testing.F) {
	f.Add([]byte(`[1,18446744073709551615]`), uint8(1))
	f.Add([]byte(`[1]`), uint8(1))
	f.Add([]byte(`[null]`), uint8(0))
	f.Add([]byte(`null`), uint8(0))
	f.Add([]byte(`{"0":1}`), uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, partition uint8) {
		at, ok := parseFloor(text, int(partition))
		if !ok {
			if at != 0 {
				t.Errorf("%q: %d, and it is none", text, at)
			}
			return
		}
		var listed []json.Number
		if err := json.Unmarshal(text, &listed); err != nil {
			t.Fatalf("%q: %d, and it is no list of numbers: %v", text, at, err)
		}
		if int(partition) >= len(listed) {
			if at != 0 {
				t.Errorf("%q: %d of partition %d, which is not in it", text, at, partition)
			}
			return
		}
		if said := listed[partition]; at != 0 && said.String() != strconv.FormatUint(at, 10) {
			t.Errorf("%q: %d of partition %d", text, at, partition)
		}
	})
}

// same demands that what was read is read again from what is stored of it.
func same[T any](t *testing.T, text []byte, x T, parse func([]byte) (T, error)) {
	t.Helper()
	stored, err := json.Marshal(x)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if again, err := parse(stored); err != nil || !reflect.DeepEqual(again, x) {
		t.Errorf("%q is stored as %q, which is %+v, %v", text, stored, again, err)
	}
}

// sameJSON compares notes, which are stored without their white space.
func sameJSON(a, b json.RawMessage) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}
