package httpapi

import (
	"encoding/base64"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/projections"
)

// testIdentity is that of the log that the tests' API has.
const testIdentity = 0x1122334455667788

// elsewhere is the same API over another log, or over this one before it was restored.
var elsewhere = &notify.Summaries{Partitions: testPartitions, Log: testIdentity + 1}

// A browser whose server was restored comes back with the last id it got. It is told to start
// again and sent the summary, and nothing is acknowledged.
func TestForeignStreamIDIsAnsweredByResync(t *testing.T) {
	h := newHarness(t)
	h.state.setSummary("alice", []uint64{70, 3}, projections.SummaryItem{
		Message: "m1", Group: "g1", Count: 3, LastReader: "dave", FirstReadAt: sentAt, LastReadAt: sentAt,
	})
	c := h.openStream("alice", elsewhere.Cursor(testApp, "alice", "", []uint64{5000, 5000}))
	c.want("resync", "")
	e := c.want("statistic", "Statistic")
	if calls := h.commands.seenCalls(); len(calls) > 0 {
		t.Errorf("acknowledged: %+v", calls)
	}
	// The new id is as good as ever.
	c.close()
	c = h.openStream("alice", e.id)
	c.want("statistic", "Statistic")
	if calls := h.commands.seenCalls(); len(calls) != 1 || !slices.Equal(calls[0].upto, []uint64{70, 3}) {
		t.Errorf("acknowledged: %+v", calls)
	}
}

func TestForeignSummaryCursorIsRefused(t *testing.T) {
	h := newHarness(t)
	cursor := elsewhere.Cursor(testApp, "alice", "", []uint64{5000, 5000})
	a := h.want(request{
		method: "POST", path: base + "/users/alice/statistics:ack", token: h.token("alice"), body: `{"cursor":"` + cursor + `"}`,
	}, 400, "foreign_cursor")
	if a.field(t, "error", "field") != "cursor" || len(h.commands.seenCalls()) > 0 {
		t.Errorf("answer %s, acknowledged: %+v", a.body, h.commands.seenCalls())
	}
}

func TestForeignPageCursorIsRefused(t *testing.T) {
	h := newHarness(t)
	withMessages(h)
	other := &API{cfg: Config{Identity: testIdentity + 1}}
	for list, path := range map[list]string{listReaders: "/messages/m1/readers", listNonReaders: "/messages/m1/nonreaders"} {
		for name, cursor := range map[string]string{
			"another log":   other.pageCursor(list, 1),
			"without a log": base64.RawURLEncoding.EncodeToString([]byte{byte(list), 1}),
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				h.want(request{method: "GET", path: base + path + "?cursor=" + cursor}, 400, "foreign_cursor")
			})
		}
	}
}
