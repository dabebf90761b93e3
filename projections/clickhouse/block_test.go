package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const testApp = "acme#chat"

// talk adds a group and a single chat in which every kind of fact occurs.
func (f *folder) talk(b *Block) {
	f.t.Helper()
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	f.add(b, 0, events.Event{Kind: events.AppConfigured, App: testApp, Settings: &settings, Revision: 1})
	in := func(kind events.Kind, user, message string) events.Event {
		return events.Event{Kind: kind, App: testApp, Group: "g", User: user, Message: message, Receipt: kind == events.MessageSent}
	}
	single := func(kind events.Kind, user, peer, message string) events.Event {
		return events.Event{Kind: kind, App: testApp, User: user, Peer: peer, Message: message}
	}
	f.add(b, 10, events.Event{Kind: events.GroupCreated, App: testApp, Group: "g", User: "ann", Members: []string{"ben", "cleo"}, Admins: []string{"dan"}})
	early := in(events.MessageRead, "ben", "m1")
	early.Content, early.Time = "so early", 42
	f.add(b, 10, early, in(events.MessageSent, "ann", "m1"), in(events.MessageRead, "cleo", "m1"), in(events.MessageRead, "cleo", "m1"))
	f.add(b, 10, single(events.MessageSent, "ann", "ben", "s1"), single(events.MessageSent, "ann", "ben", "s2"), single(events.MessageSent, "ben", "ann", "s3"))
	f.add(b, 10, single(events.MessageDelivered, "ben", "ann", "s1"))
	f.add(b, 10, single(events.ConversationRead, "ben", "ann", ""))
	f.add(b, 10, in(events.MessageRecalled, "ann", "m1"), in(events.MessageRead, "dan", "m1"))
}

// TestEveryFactIsARow folds a small talk and looks at every row that a query would count.
func TestEveryFactIsARow(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	f := newFolder(t)
	b := &Block{Partition: 3}
	f.talk(b)
	must(t, b.AddPoison(&projections.Decoded{Sequence: 8, At: f.x.At, Fingerprint: 8, Poison: "it is broken"}, "some.subject", []byte{0, 255}))
	must(t, b.Add(&projections.Decoded{Sequence: 9, At: f.x.At, Fingerprint: 9, Batch: &events.Batch{}}, nil, nil))
	must(t, s.Insert(ctx, b, b.Token(0)))
	rows, err := s.conn.Query(ctx, "SELECT concat(sequence, '.', `index`, '.', fact, ' ', toString(kind), ' ', toString(outcome), ' ', `group`, ' ', "+
		"user, '/', peer, ' ', message, ' ', content, ' | ', sender, ' ', took_ms, ' ', eligible, ' ', readers) FROM events ORDER BY sequence, `index`, fact")
	must(t, err)
	defer rows.Close()
	var got []string
	for rows.Next() {
		var line string
		must(t, rows.Scan(&line))
		got = append(got, line)
	}
	must(t, rows.Err())
	want := []string{
		"1.0.0 app.configured applied  /   |  0 0 0",
		"2.0.0 group.created applied g ann/   |  0 0 0",
		"3.0.0 message.read parked g ben/ m1 so early |  0 0 0",
		"3.1.0 message.sent applied g ann/ m1  | ann 0 3 0",
		"3.1.1 message.read applied g ben/ m1 so early | ann 0 3 1",
		"3.2.0 message.read applied g cleo/ m1  | ann 0 3 2",
		"3.3.0 message.read duplicate g cleo/ m1  |  0 0 0",
		"4.0.0 message.sent applied  ann/ben s1  | ann 0 1 0",
		"4.1.0 message.sent applied  ann/ben s2  | ann 0 1 0",
		"4.2.0 message.sent applied  ben/ann s3  | ben 0 1 0",
		"5.0.0 message.delivered applied  ben/ann s1  | ann 10 1 0",
		"6.0.0 conversation.read applied  ben/ann   |  0 0 0",
		"6.0.1 message.read applied  ben/ann s1  | ann 20 1 1",
		"6.0.2 message.read applied  ben/ann s2  | ann 20 1 1",
		"7.0.0 message.recalled applied g ann/ m1  | ann 40 0 0",
		"7.1.0 message.read receipt not found g dan/ m1  |  0 0 0",
		"8.0.0 none poison  /  it is broken |  0 0 0",
		"9.0.0 none empty  /   |  0 0 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestOneBlockIsOnePart: what is inserted is there as a whole. A block of two months would be
// refused by ClickHouse, and is never made.
func TestOneBlockIsOnePart(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	f := newFolder(t)
	b := &Block{Partition: 3}
	g := f.traffic(b, 1)
	for b.Rows() < 200_000 {
		f.add(b, 1, g.Next(nil, 5000)...)
	}
	must(t, s.Insert(ctx, b, b.Token(0)))
	must(t, s.Insert(ctx, b, b.Token(0)))
	var parts, rows uint64
	must(t, s.conn.QueryRow(ctx, "SELECT uniqExact(_part), count() FROM events").Scan(&parts, &rows))
	if parts != 1 || rows != uint64(b.Rows()) {
		t.Errorf("%d rows of %d in %d parts", rows, b.Rows(), parts)
	}
	if position, err := s.Position(ctx, 3); err != nil || position != b.Position() {
		t.Errorf("position %+v, %v; want %+v", position, err, b.Position())
	}
	if position, err := s.Position(ctx, 2); err != nil || position != (Position{}) {
		t.Errorf("position of an empty partition: %+v, %v", position, err)
	}
	const month = 31 * 24 * 60 * 60 * 1000
	if b.Fits(f.x.At+month) || !b.Fits(f.x.At) {
		t.Error("a block takes entries of two months")
	}
	f.add(b, month, g.Next(nil, 10)...)
	if err := s.Insert(ctx, b, "two months"); err == nil {
		t.Error("a block of two months was stored")
	}
}

// TestSplitCutsBetweenEntries halves a block down to its entries.
func TestSplitCutsBetweenEntries(t *testing.T) {
	f := newFolder(t)
	b := &Block{Partition: 3}
	f.talk(b)
	var whole func(b *Block) []uint64
	whole = func(b *Block) []uint64 {
		head, tail, ok := b.Split()
		if !ok {
			if b.First != b.Last || b.Position().Fingerprint != b.First*0x9e3779b97f4a7c15 {
				t.Errorf("%d to %d cannot be split", b.First, b.Last)
			}
			return []uint64{b.First}
		}
		if head.Last+1 != tail.First || head.Rows()+tail.Rows() != b.Rows() {
			t.Errorf("%d to %d was split into %d to %d and %d to %d", b.First, b.Last, head.First, head.Last, tail.First, tail.Last)
		}
		return append(whole(head), whole(tail)...)
	}
	if got := whole(b); !slices.Equal(got, []uint64{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("entries %v", got)
	}
}

// TestBlocksUseMemoryAgain makes blocks in the memory of others, larger and smaller ones, some of
// them encoded in advance, and compares them with blocks in memory of their own.
func TestBlocksUseMemoryAgain(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	f, alone := newFolder(t), newFolder(t)
	b := &Block{Partition: 3}
	g := f.traffic(b, 5)
	alone.traffic(&Block{Partition: 3}, 5)
	var spent *Block
	reused := 0
	for n, size := range []int{4000, 3000, 5000, 1500, 4000, 200, 3000, 3000} {
		next := b.Next(spent)
		if next == spent && next != nil {
			reused++
		}
		spent, b = b, next
		if b.Rows() != 0 || b.First != 0 || b.Bytes != 0 || b.Partition != 3 {
			t.Fatalf("block %d begins with %d rows, %d bytes, from %d on, of partition %d", n, b.Rows(), b.Bytes, b.First, b.Partition)
		}
		own := &Block{Partition: 3}
		for range 3 {
			evs := g.Next(nil, size/3)
			if n%3 == 1 {
				b.Encode() // and then more is added
			}
			f.add(b, 1, evs...)
			alone.add(own, 1, evs...)
		}
		if got, want := shown(b), shown(own); got != want || b.Bytes != own.Bytes || b.Position() != own.Position() {
			t.Fatalf("block %d, of %d bytes:\ngot  %.3000s\nwant %.3000s", n, b.Bytes, got, want)
		}
		if n%3 == 2 {
			b.Encode()
		}
		must(t, s.Insert(ctx, b, b.Token(0)))
		must(t, s.Insert(ctx, b, b.Token(1)))
		var rows, readers uint64
		must(t, s.conn.QueryRow(ctx, "SELECT count(), sum(readers) FROM events WHERE sequence >= ? AND sequence <= ?", b.First, b.Last).Scan(&rows, &readers))
		want := uint64(0)
		for _, n := range own.columns.Readers.values {
			want += uint64(n)
		}
		if rows != 2*uint64(own.Rows()) || readers != 2*want {
			t.Errorf("block %d: %d rows with %d readers were stored, twice %d with %d were to be", n, rows, readers, own.Rows(), want)
		}
	}
	if reused < 3 {
		t.Errorf("%d blocks were made in the memory of another", reused)
	}
}

// TestArchiveGivesBackTheEvents compares what is read with what was stored.
func TestArchiveGivesBackTheEvents(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	f := newFolder(t)
	b := &Block{Partition: 3}
	f.talk(b)
	named := events.Event{Kind: events.GroupJoined, App: testApp, Group: "g", User: "eve", EventID: "1"}
	f.add(b, 10, named, events.Event{Kind: events.GroupLeft, App: testApp, Group: "g", User: "eve"},
		events.Event{Kind: events.ConversationRead, App: testApp, Group: "g", User: "cleo", Message: "m1"},
		events.Event{Kind: events.GroupCreated, App: testApp, Group: "g", User: "ann"},
		events.Event{Kind: events.GroupJoined, App: testApp, Group: "g", User: "finn", Imported: true, Time: 1_600_000_000_000},
		events.Event{Kind: events.RulesLevel, App: events.LevelApp, Revision: 2}, named)
	if got := b.columns.Outcome.values[b.Rows()-1]; got != int8(events.OutcomeDuplicate) {
		t.Errorf("a repeat is stored as outcome %d", got)
	}
	must(t, b.AddPoison(&projections.Decoded{Sequence: 9, At: f.x.At, Fingerprint: 9, Poison: "it is broken"}, "some.subject", []byte{0, 255}))
	must(t, s.Insert(ctx, b, b.Token(0)))
	again := newFolder(t)
	c := &Block{Partition: 3}
	var poison string
	read := func(after, upto uint64) error {
		return s.Replay(ctx, Span{Partition: 3, Partitions: 4, After: after, Upto: upto}, func(x *projections.Decoded) error {
			if poison = x.Poison; poison != "" {
				return c.AddPoison(x, "some.subject", []byte{0, 255})
			}
			outcomes, err := again.part.Apply(*x)
			must(t, err)
			return c.Add(x, outcomes, again.part.TakeFacts(nil))
		})
	}
	must(t, read(0, 3))
	must(t, read(3, 9))
	if poison != "it is broken" {
		t.Errorf("poison %q", poison)
	}
	if got, want := shown(c), shown(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := again.part.Level(), f.part.Level(); got != want || got != 2 {
		t.Errorf("the archive gives level %d, the log %d", got, want)
	}
	if err := read(9, 10); !errors.Is(err, errArchive) {
		t.Errorf("an entry that is missing: %v", err)
	}
	must(t, s.conn.Exec(ctx, "ALTER TABLE events DELETE WHERE sequence = 2 SETTINGS mutations_sync = 1"))
	passed := func(*projections.Decoded) error { return nil }
	if err := s.Replay(ctx, Span{Partition: 3, Partitions: 4, Upto: 3}, passed); !errors.Is(err, errArchive) {
		t.Errorf("an entry that is missing between two others: %v", err)
	}
	must(t, s.conn.Exec(ctx, "ALTER TABLE events DELETE WHERE sequence = 3 AND `index` = 1 SETTINGS mutations_sync = 1"))
	if err := read(2, 3); !errors.Is(err, errArchive) {
		t.Errorf("an event that is missing: %v", err)
	}
}

// TestImportOfManyYears: what was imported may be of more months than ClickHouse takes from one
// insert by default.
func TestImportOfManyYears(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	var messages []MessageRow
	var cohorts []CohortRow
	for n := range 150 {
		at := time.Date(2010, time.Month(1+n), 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		m := projections.Message{ID: fmt.Sprint(n), Group: "g", From: "ann", SentAt: at}
		messages = append(messages, MessageRow{AppMessage: projections.AppMessage{App: testApp, Message: m}, Version: 1})
		cohorts = append(cohorts, CohortRow{Cohort: projections.Cohort{App: testApp, Group: "g", Sender: "ann", Hour: at / projections.HourMillis}, Version: 1})
	}
	must(t, s.InsertMessages(ctx, messages))
	must(t, s.InsertCohorts(ctx, 3, cohorts))
	var months uint64
	must(t, s.conn.QueryRow(ctx, "SELECT uniq(toYYYYMM(sent_at)) FROM messages").Scan(&months))
	if months != 150 {
		t.Errorf("messages of %d months", months)
	}
}

// shown prints a block, column by column.
func shown(b *Block) string {
	var columns []any
	for _, c := range b.all() {
		switch c := c.(type) {
		case dictionaryColumn:
			columns = append(columns, stringsOf(c.dict()))
		default:
			columns = append(columns, reflect.ValueOf(c).Elem().Interface())
		}
	}
	return fmt.Sprintf("%+v", columns)
}

// stringsOf are the strings of a dictionary, by row.
func stringsOf(d *dictionary) []string {
	rows := make([]string, d.Rows())
	for i := range rows {
		rows[i] = d.value(i)
	}
	return rows
}
