package projections_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// TestItemsFollowFromTheLog has one author's summary grow to several blocks, and items leave it in
// every way there is, a repartition included: it is what the model says, and what is stored of it
// is the same wherever checkpoints fall, with nothing in it that no summary has. It is what the
// model says, too, where an earlier version stored a row for each item until then.
func TestItemsFollowFromTheLog(t *testing.T) {
	blocks := 0
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.SampledFrom([]int{1, 5, 17, 40}).Draw(t, "limit")
		log, id := summaryLog(t), 0
		if rapid.Bool().Draw(t, "repartitioned") {
			log, id = history.Repartition(t, log), rapid.IntRange(0, 3).Draw(t, "partition")
		}
		disturb := disturbances(t, len(log))
		upgraded := rapid.IntRange(0, len(log)-1).Draw(t, "upgraded after")
		early := rapid.Bool().Draw(t, "an early version")

		limits := oracle.DefaultLimits()
		limits.MaxSummaryItems = limit
		model := oracle.NewWithLimits(id, limits)
		model.SetLevels(history.SmallLevels())
		folds := map[string]*fold{}
		for _, name := range []string{"straight", "disturbed", "upgraded"} {
			f := newFold(t, memory{}, 1)
			f.options.Limits = projections.Limits{SummaryItems: limit, CachedItems: 1}
			f.be(id)
			folds[name] = f
		}
		for i, e := range log {
			want := e.Apply(model)
			for name, f := range folds {
				if got := f.apply(e); !slices.Equal(got, want) {
					t.Fatalf("%s, entry %d: outcomes %v, not %v", name, e.Sequence, describe(got), describe(want))
				}
			}
			folds["disturbed"].disturb(disturb[i], model)
			if f := folds["upgraded"]; i == upgraded {
				f.commitAll()
				f.state = memory(projections.EarlierSummaries(f.state.(memory), early))
				f.open()
			} else if i > upgraded {
				f.disturb(disturb[i], model)
			}
		}
		for _, f := range folds {
			f.commitAll()
			compareWithModel(t, f.part, model)
			f.noStrays()
			f.crash()
			compareWithModel(t, f.part, model)
		}
		if a, b := folds["straight"].state.dump(), folds["disturbed"].state.dump(); a != b {
			t.Fatalf("the states differ:\nstraight:\n%s\ndisturbed:\n%s", a, b)
		}
		blocks += folds["straight"].rows('i')
	})
	if blocks == 0 {
		t.Error("no summary had a full block")
	}
}

// noStrays checks that nothing is stored of an item that no summary has.
func (f *fold) noStrays() {
	f.t.Helper()
	if keys, err := f.part.Strays(); err != nil || len(keys) > 0 {
		f.t.Fatalf("of no summary: %q, %v", keys, err)
	}
}

// summaryLog is a log about what ann has sent.
func summaryLog(t *rapid.T) (log history.Log) {
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	add := func(list ...events.Event) {
		for i := range list {
			list[i].App = "o#a"
		}
		seq := uint64(len(log) + 1)
		log = append(log, history.Entry{Sequence: seq, At: 1000 * int64(seq), Events: list})
	}
	add(events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo"}},
		events.Event{Kind: events.GroupCreated, Group: "h", User: "ann", Members: []string{"cleo", "ben"}})
	var sent []events.Event
	send := func() (list []events.Event) {
		id := fmt.Sprint(1146853827194029056 + uint64(len(sent))*4194304)
		switch rapid.IntRange(0, 5).Draw(t, "id") {
		case 0:
			id = fmt.Sprintf("01234567-89ab-cdef-0123-%012x", len(sent))
		case 1:
			id = fmt.Sprint("m", len(sent))
		}
		e := events.Event{Kind: events.MessageSent, User: "ann", Message: id, Receipt: true}
		switch rapid.IntRange(0, 3).Draw(t, "to") {
		case 0:
			e.Peer, e.Receipt = "ben", false
		case 1:
			e.Group = "h"
		default:
			e.Group = "g"
		}
		sent = append(sent, e)
		return []events.Event{e, receiptFor(e, "ben")}
	}
	for range rapid.IntRange(1, 40).Draw(t, "entries") {
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		default:
			var list []events.Event
			for range rapid.IntRange(1, 12).Draw(t, "messages") {
				list = append(list, send()...)
			}
			add(list...)
		case 4, 5:
			if len(sent) > 0 {
				add(receiptFor(rapid.SampledFrom(sent).Draw(t, "message"), rapid.SampledFrom([]string{"ben", "cleo"}).Draw(t, "reader")))
			}
		case 6:
			if len(sent) > 0 {
				e := rapid.SampledFrom(sent).Draw(t, "message")
				add(events.Event{Kind: events.MessageRecalled, User: "ann", Group: e.Group, Peer: e.Peer, Message: e.Message})
			}
		case 7:
			add(events.Event{Kind: events.ConversationRead, User: "ben", Peer: "ann"})
		case 8, 9:
			add(events.Event{
				Kind: events.StatisticSeen, User: "ann",
				Upto:   rapid.Uint64Range(1, uint64(len(log))).Draw(t, "upto"),
				Device: rapid.SampledFrom([]string{"", "phone", "desk"}).Draw(t, "device"),
			})
		}
	}
	return log
}

// receiptFor is a read of a message by somebody.
func receiptFor(e events.Event, reader string) events.Event {
	x := events.Event{Kind: events.MessageRead, User: reader, Group: e.Group, Message: e.Message}
	if e.Peer != "" {
		x.Peer = "ann"
	}
	return x
}

// TestBlocksLeaveWhatRowsStay: a block that begins with items that have rows goes with the last
// item that it has itself.
func TestBlocksLeaveWhatRowsStay(t *testing.T) {
	options := projections.Options{}
	s := memory{}
	part := open(t, s, options)
	foldEach(t, part, 1000, events.Event{Kind: events.AppConfigured, Settings: countsAbove(100), Revision: 1})
	about := func(i int, kind events.Kind) events.Event {
		e := events.Event{Kind: kind, User: "ann", Peer: "ben", Message: fmt.Sprint("m", i)}
		if kind == events.MessageRead {
			e.User, e.Peer = e.Peer, e.User
		}
		return e
	}
	upgrade := func() {
		settle(t, s, part)
		s = memory(projections.EarlierSummaries(s, false))
		part = open(t, s, options)
	}
	for i := 1; i <= 20; i++ {
		foldEach(t, part, 2000, about(i, events.MessageSent), about(i, events.MessageRead))
		if i == 3 {
			upgrade()
		}
	}
	keys := func(table byte) (n int) {
		settle(t, s, part)
		for k := range s {
			if k[0] == table {
				n++
			}
		}
		return n
	}
	if rows, blocks := keys('s'), keys('i'); rows != 3 || blocks != 1 {
		t.Fatalf("%d rows and %d blocks", rows, blocks)
	}
	for i := 4; i <= 16; i++ {
		foldEach(t, part, 3000, about(i, events.MessageRecalled))
	}
	if rows, blocks := keys('s'), keys('i'); rows != 3 || blocks != 0 {
		t.Errorf("once only those in rows are left: %d rows and %d blocks", rows, blocks)
	}
	sum, upto, err := open(t, s, options).Summary(theApp, "ann", "")
	if err != nil || len(sum.Items) != 7 || sum.Items[0].Message != "m1" || sum.Items[3].Message != "m17" {
		t.Errorf("%+v, %v", sum, err)
	}
	foldEach(t, part, 4000, events.Event{Kind: events.StatisticSeen, User: "ann", Upto: upto})
	if rows, blocks := keys('s'), keys('i'); rows+blocks != 0 {
		t.Errorf("once all is seen: %d rows and %d blocks", rows, blocks)
	}
}

// TestSeenAmongOthersIsNewsAgain: an item that left the summary from among others comes into it
// with the next receipt, on whatever device it was acknowledged.
func TestSeenAmongOthersIsNewsAgain(t *testing.T) {
	for _, device := range []string{"", "phone"} {
		for _, restarted := range []bool{false, true} {
			s := memory{}
			part := open(t, s, projections.Options{})
			about := func(kind events.Kind, user, id string) events.Event {
				return events.Event{Kind: kind, User: user, Group: "g", Message: id, Receipt: kind == events.MessageSent}
			}
			foldEach(t, part, 1000,
				events.Event{Kind: events.AppConfigured, Settings: countsAbove(100), Revision: 1},
				events.Event{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben", "cleo"}},
				about(events.MessageSent, "ann", "m1"), about(events.MessageSent, "ann", "m2"),
				about(events.MessageRead, "ben", "m1"), about(events.MessageRead, "ben", "m2"))
			_, upto, err := part.Summary(theApp, "ann", device)
			if err != nil {
				t.Fatal(err)
			}
			foldEach(t, part, 2000, about(events.MessageRead, "cleo", "m1"),
				events.Event{Kind: events.StatisticSeen, User: "ann", Upto: upto, Device: device})
			told := func() (ids []string) {
				sum, _, err := part.Summary(theApp, "ann", device)
				if err != nil {
					t.Fatal(err)
				}
				for _, x := range sum.Items {
					ids = append(ids, x.Message)
				}
				return ids
			}
			if got := told(); !slices.Equal(got, []string{"m1"}) {
				t.Fatalf("left after it was seen: %v", got)
			}
			if restarted {
				settle(t, s, part)
				part = open(t, s, projections.Options{})
			}
			foldEach(t, part, 3000, about(events.MessageRead, "cleo", "m2"))
			if got := told(); !slices.Equal(got, []string{"m1", "m2"}) {
				t.Errorf("device %q, restarted %v: told %v after a receipt for what was seen", device, restarted, got)
			}
		}
	}
}
