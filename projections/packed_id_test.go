package projections

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

// TestPackedIDs: every id comes back, and none takes more than it is long.
func TestPackedIDs(t *testing.T) {
	for id, want := range map[string]int{
		"": 0, "7": 1, "0": 1, "007": 3, "12": 2, "999": 3, "65535": 3, "65536": 4, "1146853827194029056": 9, "9999999999999999999": 9,
		"10000000000000000000": 20, "18446744073709551616": 20, "m17": 3, "+123456": 7,
		"01234567-89ab-cdef-0123-456789abcdef": 17, "01234567-89AB-cdef-0123-456789abcdef": 36, "01234567a89ab-cdef-0123-456789abcdef": 36,
		"01234567-89ab-cdef-0123-456789abcdeg": 36, "00000000-0000-0000-0000-000000000000": 17, strings.Repeat("1", 36): 36,
	} {
		checkPacked(t, id, want)
	}
	ids := rapid.OneOf(
		rapid.StringMatching(`[0-9]{1,22}`),
		rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`),
		rapid.StringMatching(`[0-9a-fA-F-]{34,38}`),
		rapid.StringMatching(`[!-~]{0,64}`),
	)
	rapid.Check(t, func(t *rapid.T) { checkPacked(t, ids.Draw(t, "id"), -1) })
}

func checkPacked(t interface{ Errorf(string, ...any) }, id string, length int) {
	b := appendPacked([]byte("x"), id)[1:]
	if got, ok := unpackID(b); !ok || got != id {
		t.Errorf("%q comes back as %q, %v", id, got, ok)
	}
	if len(b) > len(id) || length >= 0 && len(b) != length {
		t.Errorf("%q takes %d bytes, want %d", id, len(b), length)
	}
}

// TestNoOtherBytesAreAnID: what is no id that was stored is corrupt, and never another id's bytes.
func TestNoOtherBytesAreAnID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := append([]byte{0}, rapid.SliceOfN(rapid.Byte(), 0, 18).Draw(t, "bytes")...)
		id, ok := unpackID(b)
		if !ok {
			return
		}
		if again := appendPacked(nil, id); !bytes.Equal(again, b) && len(again) != len(id) {
			t.Fatalf("%x is %q, which is stored as %x", b, id, again)
		}
	})
}

// TestMessagesOfEarlierVersionsKeepTheirIDs reads what was stored before ids were packed.
func TestMessagesOfEarlierVersionsKeepTheirIDs(t *testing.T) {
	for _, id := range []string{"1146853827194029056", "m1", "01234567-89ab-cdef-0123-456789abcdef"} {
		for _, x := range []unreadRef{{sender: 3, id: id}, {sender: 300, id: id, silent: true}} {
			sender := uint64(x.sender)
			if x.silent {
				sender += silentRef
			}
			earlier := append(binary.AppendUvarint(nil, sender), id...)
			var got unreadRef
			if err := got.decode(earlier, events.MaxEverMembers); err != nil || got != x {
				t.Errorf("%+v is read as %+v, %v", x, got, err)
			}
			if err := got.decode(x.encode(nil), events.MaxEverMembers); err != nil || got != x {
				t.Errorf("%+v comes back as %+v, %v", x, got, err)
			}
		}
	}
}
