package projections

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
)

type read struct {
	ordinal uint32
	at      int64
	content string
}

// someMessage draws a message with a read set, and who is in it.
func someMessage(t *rapid.T) (*message, []read) {
	m := &message{header: header{
		kind:     rapid.SampledFrom([]uint8{msgPlain, msgTracked, msgOversize}).Draw(t, "kind"),
		sender:   rapid.Uint32Max(events.MaxGroupMembers-1).Draw(t, "sender"),
		eligible: rapid.Uint32Max(events.MaxGroupMembers).Draw(t, "eligible"),
		seq:      rapid.Uint64().Draw(t, "seq"),
		sentAt:   rapid.Int64Range(-1<<40, 1<<42).Draw(t, "sent at"),
		place:    summaryPlace{n: rapid.Uint64().Draw(t, "place"), last: rapid.Uint64().Draw(t, "last entry")},
	}}
	at := m.sentAt
	if d := rapid.Int64Range(0, 3).Draw(t, "delivered"); d > 0 {
		if m.deliveredAt = at + d - 1; m.deliveredAt == 0 {
			m.deliveredAt++ // 0 is none
		}
	}
	ordinals := rapid.SliceOfNDistinct(rapid.OneOf(rapid.Uint32Max(200), rapid.Uint32Max(events.MaxEverMembers-1)), 0, 60, rapid.ID).Draw(t, "readers")
	var reads []read
	for _, o := range ordinals {
		at += rapid.Int64Range(0, 1<<33).Draw(t, "later")
		content := rapid.SampledFrom([]string{"", "", "ok", string(bytes.Repeat([]byte("x"), events.MaxContentBytes))}).Draw(t, "content")
		m.addReader(o, at, content)
		reads = append(reads, read{o, at, content})
	}
	return m, reads
}

func readsOf(t *rapid.T, m *message) (reads []read) {
	err := m.eachReader(func(o uint32, at int64, content []byte) bool {
		reads = append(reads, read{o, at, string(content)})
		return true
	})
	if err != nil {
		t.Fatalf("read set: %v", err)
	}
	return reads
}

func TestMessageIsStoredWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, want := someMessage(t)
		hidden := map[uint32]bool{}
		for _, o := range rapid.SliceOfN(rapid.OneOf(rapid.Just(uint32(events.MaxEverMembers-1)), rapid.Uint32Max(events.MaxEverMembers-1)), 0, 5).Draw(t, "hidden") {
			if !m.hasRead(o) {
				m.addHidden(o)
				hidden[o] = true
			}
		}
		v := m.header.encode(nil, m.log)
		var got message
		if err := got.decode(v); err != nil {
			t.Fatalf("decode: %v", err)
		}
		if got.header != m.header {
			t.Fatalf("header\n got  %+v\n want %+v", got.header, m.header)
		}
		if reads := readsOf(t, &got); !slices.Equal(reads, want) {
			t.Fatalf("readers\n got  %v\n want %v", reads, want)
		}
		if those, err := hiddenIn(got.log, got.sentAt); err != nil || !maps.Equal(those, hidden) {
			t.Fatalf("hidden: %v, %v, want %v", those, err, hidden)
		}
		for o := range uint32(300) {
			has := slices.ContainsFunc(want, func(r read) bool { return r.ordinal == o }) || hidden[o]
			if got.hasRead(o) != has || m.hasRead(o) != has {
				t.Fatalf("member %d has read: %v and %v, want %v", o, m.hasRead(o), got.hasRead(o), has)
			}
		}
		if len(want) > 0 && got.firstAt() != want[0].at {
			t.Fatalf("first read at %d, want %d", got.firstAt(), want[0].at)
		}
		if again := got.header.encode(nil, got.log); !bytes.Equal(again, v) {
			t.Fatalf("stored again as % x, first as % x", again, v)
		}
	})
}

// A checkpoint keeps the header and a prefix of the read set while the fold goes on appending.
func TestCapturedReadSetDoesNotChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, before := someMessage(t)
		h, log := m.header, m.log
		stored := h.encode(nil, log)
		at := m.sentAt
		if len(before) > 0 {
			at = m.lastAt
		}
		for o := range uint32(40) {
			if !m.hasRead(o) {
				m.addReader(o, at, "later")
			}
		}
		if now := h.encode(nil, log); !bytes.Equal(now, stored) {
			t.Fatal("the captured read set changed")
		}
		var got message
		if err := got.decode(stored); err != nil {
			t.Fatal(err)
		}
		if reads := readsOf(t, &got); !slices.Equal(reads, before) {
			t.Fatalf("readers\n got  %v\n want %v", reads, before)
		}
	})
}

func TestDamagedMessageIsAnError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, _ := someMessage(t)
		v := m.header.encode(nil, m.log)
		head := len(v) - len(m.log)
		cut := rapid.IntRange(0, head-1).Draw(t, "cut")
		if err := new(message).decode(v[:cut]); err == nil {
			t.Fatalf("cut to %d of %d bytes: no error", cut, head)
		}
	})
	beyond := (&header{kind: msgTracked}).encode(nil, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	if err := new(message).decode(beyond); err == nil {
		t.Error("a reader beyond the members of any group: no error")
	}
}

func TestReadTimeBeforeTheEpochIsKept(t *testing.T) {
	m := &message{header: header{kind: msgTracked, sentAt: -5000}}
	m.addReader(3, -4000, "")
	var got message
	if err := got.decode(m.header.encode(nil, m.log)); err != nil || got.lastAt != -4000 || got.firstAt() != -4000 {
		t.Errorf("read at %d, first at %d, %v", got.lastAt, got.firstAt(), err)
	}
}
