package httpapi

import (
	"errors"
	"net/http/httptest"
	"net/url"
	"testing"
)

// Whatever cursor comes, it is a place in its own list of its own log, which is told the same way
// again, or an error for the client.
func FuzzPageCursor(f *testing.F) {
	a := &API{cfg: Config{Identity: 0x1122334455667788, Partitions: 2}}
	other := &API{cfg: Config{Identity: 7}}
	all := []list{listReaders, listNonReaders, listConversations, listMembers, listUnread, listPositions, listMessages, listReads, listRates}
	for i, l := range all {
		f.Add(i, a.pageCursor(l, 300))
		f.Add(i, a.placeCursor(l, "pben"))
		f.Add(i, other.pageCursor(l, 300))
	}
	f.Fuzz(func(t *testing.T, i int, text string) {
		l := all[uint(i)%uint(len(all))]
		c := &call{r: httptest.NewRequest("GET", "/?cursor="+url.QueryEscape(text), nil)}
		place, err := a.placeIn(c, l)
		if err != nil || place == "" {
			if _, refused := errors.AsType[*apiError](err); err != nil && !refused || err == nil && text != "" {
				t.Fatalf("%q: place %q, %v", text, place, err)
			}
			return
		}
		if again := a.placeCursor(l, place); again != text {
			t.Fatalf("%q is told as %q", text, again)
		}
	})
}

// Whatever positions come, they are of partitions that there are.
func FuzzPositions(f *testing.F) {
	a := &API{cfg: Config{Identity: 0x1122334455667788, Partitions: 2}}
	for _, text := range []string{"0:12,1:44", "0:12@1122334455667788", "0:1@0000000000000007", "2:1", "0:18446744073709551615", ",", "@"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := a.parsePositions("at_least", text, "")
		if _, refused := errors.AsType[*apiError](err); err != nil && !refused {
			t.Fatalf("%q: %v", text, err)
		}
		for _, p := range list {
			if p.Partition < 0 || p.Partition > 1 || int64(p.Sequence) < 0 {
				t.Fatalf("%q: %+v", text, p)
			}
		}
	})
}
