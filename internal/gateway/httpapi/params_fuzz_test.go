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

// Whatever cursor comes to a page of read rates, it is a place in the answer to the same question,
// from which the same cursor is made again, or an error for the client.
func FuzzRateCursor(f *testing.F) {
	a := &API{cfg: Config{Identity: 0x1122334455667788}}
	ask := func(cursor string) (*rateQuestion, error) {
		asked := &rateQuestion{}
		asked.query.App, asked.query.From, asked.query.To = testApp, 7, 9
		c := &call{r: httptest.NewRequest("GET", "/?group_by=sender&cursor="+url.QueryEscape(cursor), nil)}
		return asked, a.readRatePage(c, asked, c.r.URL.Query())
	}
	asked, err := ask("")
	if err != nil {
		f.Fatal(err)
	}
	cursor := func(offset int, from, to int64, identity uint64) string {
		q := *asked
		q.query.From, q.query.To, q.identity = from, to, identity
		return a.placeCursor(listRates, q.place(offset))
	}
	f.Add(cursor(100, 0, 3_600_000, asked.identity))
	f.Add(cursor(100, 0, 3_600_000, 1))
	f.Add(cursor(-1, 0, 1, asked.identity))
	f.Add(cursor(1, 1<<62, -1<<62, asked.identity))
	f.Add(cursor(1, -1<<62, 1<<62, asked.identity))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ask(text)
		if err != nil {
			if _, refused := errors.AsType[*apiError](err); !refused {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		q := &got.query
		if text == "" {
			return
		}
		if q.Offset < 1 || q.From >= q.To || q.From < earliestFrom || q.To > latestTime {
			t.Errorf("%q: from row %d on, from %d to %d", text, q.Offset, q.From, q.To)
		}
		again, err := ask(a.placeCursor(listRates, got.place(q.Offset)))
		if err != nil || again.query.Offset != q.Offset || again.query.From != q.From || again.query.To != q.To {
			t.Errorf("%q: %+v is told as %+v, %v", text, q, again.query, err)
		}
	})
}
