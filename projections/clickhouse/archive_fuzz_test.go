package clickhouse

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// archivedRow is a row of the archive, as the driver scans it.
type archivedRow struct {
	driver.Rows
	values []any
}

// Scan implements [driver.Rows].
func (r archivedRow) Scan(dest ...any) error {
	for i, to := range dest {
		v := reflect.ValueOf(to).Elem()
		v.Set(reflect.ValueOf(r.values[i]).Convert(v.Type()))
	}
	return nil
}

// none is a state without anything in it.
type none struct{}

func (none) Get([]byte) ([]byte, error)                               { return nil, nil }
func (none) Scan([]byte, func(key, value []byte) error) error         { return nil }
func (none) Range(_, _ []byte, _ func(key, value []byte) error) error { return nil }

// FuzzArchive: whatever a row of the archive says, it is damaged, or an entry that can be folded,
// with no other event than the row has, behind one that made a group.
func FuzzArchive(f *testing.F) {
	extra := func(x any) string {
		text, err := json.Marshal(x)
		if err != nil {
			f.Fatal(err)
		}
		return string(text)
	}
	settings := events.DefaultSettings()
	list := events.Event{Kind: events.MessageRead, User: "ben", Group: "g", Message: "m"}
	f.Add(uint64(2), uint32(0), int8(events.MessageSent), int8(1), "g", "ann", "", "m", "", uint8(1), int64(7), extra(eventExtra{EventID: "e"}), "campaign")
	f.Add(uint64(2), uint32(0), int8(events.AppConfigured), int8(1), "", "", "", "", "", uint8(0), int64(0), extra(eventExtra{Settings: &settings, Revision: 2}), "")
	f.Add(uint64(2), uint32(0), int8(events.AppConfigured), int8(1), "", "", "", "", "", uint8(0), int64(0), "", "")
	f.Add(uint64(2), uint32(0), int8(events.UserConfigured), int8(1), "g", "ann", "ben", "", "", uint8(8), int64(0), `{"send_reads":9}`, "")
	f.Add(uint64(2), uint32(0), int8(events.ConversationRead), int8(1), "", "ann", "ann", "m", "", uint8(2), int64(-1), "", "")
	f.Add(uint64(2), uint32(0), int8(0), int8(outcomeBytes), "", "", "", "", "", uint8(0), int64(0),
		extra(bytesExtra{Subject: "receipts.v1.0.message-read.acme.chat", Data: events.AppendJSON(nil, &list)}), "")
	f.Add(uint64(2), uint32(0), int8(0), int8(outcomePoison), "", "", "", "", "malformed", uint8(0), int64(0), "", "")
	f.Add(uint64(2), uint32(1), int8(-1), int8(outcomeEmpty), "", "", "", "", "", uint8(0), int64(0), "{", "")
	const app = "acme#chat"
	f.Fuzz(func(t *testing.T, sequence uint64, index uint32, kind, outcome int8, group, user, peer, message, content string, flags uint8, client int64, extra, label string) {
		p, err := projections.Open(0, none{}, projections.Options{})
		if err != nil {
			t.Fatal(err)
		}
		entries := 0
		r := newArchiveReader(1, 0, func(x *projections.Decoded) error {
			entries++
			if n := x.Batch.Len(); x.Poison == "" && n > 1 && outcome != outcomeBytes {
				t.Errorf("%d events of one row", n)
			}
			if _, err := p.Apply(*x); err != nil {
				t.Logf("it cannot be folded: %v", err)
			}
			return nil
		})
		add := func(values ...any) error { return r.row(archivedRow{values: values}) }
		if err := add(uint64(1), uint32(0), int64(1), uint64(1), int8(events.GroupCreated), int8(1), app, "g", "ann", "", "", "", false, false, int64(0),
			`{"members":["ben"]}`, "", "", false); err != nil {
			t.Fatal(err)
		}
		err = add(sequence, index, int64(2), uint64(2), kind, outcome, app, group, user, peer, message, content, flags&1 != 0, flags&2 != 0, client, extra, "leaf", label, flags&4 != 0)
		if err == nil {
			err = r.flush()
		}
		switch {
		case err != nil && !errors.Is(err, errArchive) && !errors.Is(err, events.ErrVersion):
			t.Errorf("%v", err)
		case err == nil && (entries != 2 || r.last != 2):
			t.Errorf("%d entries, the last is %d", entries, r.last)
		}
	})
}
