package clickhouse

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	"github.com/receiptd/receiptd/projections"
)

// byMessage asks for rows by message, those that the fewest have read first.
var byMessage = projections.RateQuery{
	App: testApp, From: 0, To: math.MaxInt64, By: projections.ByMessage, Sort: projections.SortRate, Reverse: true, MinMessages: 1, Limit: 2, Bins: true,
}

// chat folds events, and stores what is known of their messages if it is to.
type chat struct {
	*folder
	store *Store
	block *Block
}

func newChat(t *testing.T, store *Store) *chat {
	c := &chat{newFolder(t), store, &Block{Partition: 3}}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	c.add(c.block, 1, events.Event{App: testApp, Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	return c
}

func (c *chat) save(messages bool) {
	ctx := context.Background()
	must(c.t, c.store.Insert(ctx, c.block, c.block.Token(0)))
	c.block = c.block.Next(c.block)
	at, _ := c.part.Position()
	var rows []MessageRow
	for _, m := range c.part.TakeMessages(nil) {
		rows = append(rows, MessageRow{AppMessage: m, Version: at})
	}
	if messages {
		must(c.t, c.store.InsertMessages(ctx, rows))
	}
}

// TestPageOfMessagesReadsItsOwnTimes: the rows of a page are found by the numbers of the messages,
// so the reads of all the others are not looked at.
func TestPageOfMessagesReadsItsOwnTimes(t *testing.T) {
	server := chtest.Start(t)
	c := newChat(t, openAt(t, server.DSN("receiptd")))
	readers := []string{"u1", "u2", "u3", "u4", "u5", "u6", "u7"}
	c.add(c.block, 1, events.Event{App: testApp, Kind: events.GroupCreated, Group: "team", User: "u0", Members: readers})
	const messages = 20_000
	for i := range messages {
		id := fmt.Sprint("m", i)
		evs := []events.Event{{App: testApp, Kind: events.MessageSent, Group: "team", User: "u0", Message: id, Receipt: true}}
		for _, user := range readers {
			if i != 7 {
				evs = append(evs, events.Event{App: testApp, Kind: events.MessageRead, Group: "team", User: user, Message: id})
			}
		}
		c.add(c.block, 1000, evs...)
	}
	c.save(true)
	before := server.RowsRead()
	page, err := c.store.ReadRates(context.Background(), byMessage)
	must(t, err)
	after := server.RowsRead()
	if len(page.Rows) != 2 || page.Total != messages || page.Rows[0].Key != "m7" || page.Rows[0].Read != 0 || page.Rows[1].Read != 7 || len(page.Rows[1].Bins) != 1 {
		t.Errorf("the page is %+v", page)
	}
	// The messages twice, once more for those that were recalled, and events where the rows are.
	if n := after - before; n > 6*messages {
		t.Errorf("%d rows were read for a page of %d messages", n, messages)
	}
}

// TestTimesAreNoMoreThanReads: a read is in events before the numbers of its message have it, and
// is in neither the one nor the other of an answer then.
func TestTimesAreNoMoreThanReads(t *testing.T) {
	c := newChat(t, openStore(t))
	for _, id := range []string{"m1", "m2"} {
		c.add(c.block, 1000, events.Event{App: testApp, Kind: events.MessageSent, User: "u1", Peer: "u2", Message: id})
	}
	c.add(c.block, 1000, events.Event{App: testApp, Kind: events.MessageRead, User: "u2", Peer: "u1", Message: "m1"})
	c.save(true)
	c.add(c.block, 1000, events.Event{App: testApp, Kind: events.MessageRead, User: "u2", Peer: "u1", Message: "m2"})
	c.save(false)
	page, err := c.store.ReadRates(context.Background(), byMessage)
	must(t, err)
	for i, want := range []uint64{0, 1} {
		var times uint64
		for _, b := range page.Rows[i].Bins {
			times += b.Count
		}
		if r := page.Rows[i]; r.Read != want || times != want || (r.R50 == projections.NotYet) != (want == 0) {
			t.Errorf("%d reads, %d times, half of the recipients within %v", r.Read, times, r.R50)
		}
	}
}

// TestPageOfLongKeys: where the keys of a page are too long for a statement, it is asked for at
// once.
func TestPageOfLongKeys(t *testing.T) {
	c := newChat(t, openStore(t))
	const messages = 1000
	for i := range messages {
		id := strings.Replace(fmt.Sprintf("%0*d", events.MaxIDBytes, i), "0000", `'\é`, 1)
		c.add(c.block, 1, events.Event{App: testApp, Kind: events.MessageSent, User: "u1", Peer: "u2", Message: id})
	}
	c.save(true)
	q := byMessage
	q.Limit = messages
	page, err := c.store.ReadRates(context.Background(), q)
	must(t, err)
	if page.Total != messages || len(page.Rows) != messages {
		t.Errorf("%d rows of %d", len(page.Rows), page.Total)
	}
}

// TestMessagesWithOneIDAreOneRow: an id may begin anew in each conversation. The group and the
// sender tell its messages apart.
func TestMessagesWithOneIDAreOneRow(t *testing.T) {
	c := newChat(t, openStore(t))
	for _, group := range []string{"team", "club"} {
		c.add(c.block, 1, events.Event{App: testApp, Kind: events.GroupCreated, Group: group, User: "u0", Members: []string{"u1", "u2"}})
		c.add(c.block, 1, events.Event{App: testApp, Kind: events.MessageSent, Group: group, User: "u0", Message: "1", Receipt: true})
	}
	for _, sender := range []string{"u3", "u4"} {
		c.add(c.block, 1, events.Event{App: testApp, Kind: events.MessageSent, User: sender, Peer: "u1", Message: "1"})
	}
	c.add(c.block, 1000, events.Event{App: testApp, Kind: events.MessageRead, Group: "team", User: "u1", Message: "1"})
	c.add(c.block, 1000, events.Event{App: testApp, Kind: events.MessageRead, User: "u1", Peer: "u3", Message: "1"})
	c.save(true)
	for _, test := range []struct {
		group, sender            string
		messages, eligible, read uint64
	}{
		{"", "", 4, 6, 2}, {"team", "", 1, 2, 1}, {"club", "", 1, 2, 0}, {"", "u3", 1, 1, 1}, {"", "u4", 1, 1, 0},
	} {
		q := byMessage
		q.Group, q.Sender = test.group, test.sender
		page, err := c.store.ReadRates(context.Background(), q)
		must(t, err)
		want := projections.CohortCounts{Messages: test.messages, Eligible: test.eligible, Delivered: test.read, Read: test.read}
		if page.Total != 1 || page.Rows[0].Key != "1" || page.Rows[0].CohortCounts != want {
			t.Errorf("group %q, sender %q: %+v, not %+v", test.group, test.sender, page, want)
		}
	}
}
