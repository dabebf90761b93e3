package clickhouse

import (
	"context"
	"fmt"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// TestDictionariesOfEverySize: the keys of a dictionary get wider with its size. At each width the
// rows in the table are the ones that were added, also if the block was split.
func TestDictionariesOfEverySize(t *testing.T) {
	ctx := context.Background()
	s := openStore(t)
	for part, messages := range []int{200, 300, 70_000} {
		f := newFolder(t)
		f.x.Sequence = uint64(part) * 1000
		b := &Block{Partition: 3}
		f.talk(b)
		before := b.Rows()
		for from := 0; from < messages; from += 10_000 {
			var evs []events.Event
			for i := from; i < min(from+10_000, messages); i++ {
				evs = append(evs, events.Event{Kind: events.MessageSent, App: testApp, Group: "g", User: "ann", Message: fmt.Sprint("x", i), Receipt: true})
			}
			f.add(b, 10, evs...)
		}
		head, tail, ok := b.Split()
		if !ok {
			t.Fatal("the block has one entry only")
		}
		for _, half := range []*Block{head, tail} {
			must(t, s.Insert(ctx, half, half.Token(0)))
		}
		var rows, distinct, sum, wrong uint64
		// The messages of a block come in the order of their numbers.
		must(t, s.conn.QueryRow(ctx, `SELECT count(), uniqExact(message), sum(toUInt64(substring(message, 2))), countIf(user != 'ann' OR app != '`+testApp+`')
			FROM events WHERE sequence > ? AND sequence <= ? AND message LIKE 'x%'`, uint64(part)*1000, uint64(part+1)*1000).Scan(&rows, &distinct, &sum, &wrong))
		n := uint64(messages)
		if rows != n || distinct != n || sum != n*(n-1)/2 || wrong != 0 || b.Rows() != before+messages {
			t.Errorf("%d messages: %d rows of %d, %d different, their numbers add up to %d, %d wrong", messages, rows, b.Rows()-before, distinct, sum, wrong)
		}
	}
}
