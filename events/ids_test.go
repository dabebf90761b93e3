package events

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

func TestIDTablesRoundTrip(t *testing.T) {
	id := rapid.OneOf(
		rapid.StringMatching(`[0-9]{1,21}`),
		rapid.StringMatching(`(user|group-|é)[0-9]{1,20}`),
		rapid.StringMatching(`[0-9A-Za-z]{1,20}`),
		rapid.StringMatching(`(x:)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
		rapid.StringMatching(`[0-9A-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-g]{12}`),
		rapid.StringN(1, 20, MaxIDBytes),
	)
	var w idWriter // reused, as by an encoder
	var r idReader
	var a arena
	var buf []byte
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(id, 0, 60).Draw(t, "ids")
		w.reset()
		for _, id := range ids {
			w.add(id)
		}
		table := w.appendTo(nil, 1, &buf)
		if len(ids) == 0 {
			if len(table) > 0 {
				t.Fatalf("an empty table takes %d bytes", len(table))
			}
			return
		}
		_, _, n := protowire.ConsumeTag(table)
		data, _ := protowire.ConsumeBytes(table[n:])
		got, err := r.read(nil, &a, data)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("got  %q\nwant %q", got, ids)
		}
	})
}

func TestDigitsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digits := rapid.IntRange(1, maxDigits).Draw(t, "digits")
		v := rapid.Uint64Max(powersOf10[digits]-1).Draw(t, "v")
		dst := make([]byte, digits)
		putDigits(dst, v)
		if want := fmt.Sprintf("%0*d", digits, v); string(dst) != want {
			t.Fatalf("putDigits: %s, want %s", dst, want)
		}
		if got, ok := parseDigits(string(dst)); !ok || got != v {
			t.Fatalf("parseDigits of %s: %d %v", dst, got, ok)
		}
		at := rapid.IntRange(0, digits-1).Draw(t, "at")
		other := rapid.Byte().Filter(func(b byte) bool { return b < '0' || b > '9' }).Draw(t, "other")
		dst[at] = other
		if got, ok := parseDigits(string(dst)); ok {
			t.Fatalf("parseDigits of %q: %d", dst, got)
		}
	})
}

func TestVarintIsThatOfProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := protowire.AppendVarint(nil, rapid.Uint64().Draw(t, "v")>>rapid.IntRange(0, 63).Draw(t, "shift"))
		data = append(data, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "rest")...)
		if rapid.Bool().Draw(t, "anything") {
			data = rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "data")
		}
		v, used := varint(data)
		want, wantUsed := protowire.ConsumeVarint(data)
		if v != want || used != wantUsed {
			t.Fatalf("% x: %d in %d bytes, want %d in %d", data, v, used, want, wantUsed)
		}
	})
}
