package notify

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/projections"
)

type fakeState struct {
	items   []projections.SummaryItem
	dropped int
	upto    []uint64
	err     error
}

func (s fakeState) Summary(app, user, device string) (projections.Summary, []uint64, error) {
	return projections.Summary{Items: s.items, Dropped: s.dropped}, s.upto, s.err
}

func (s fakeState) SummaryAfter(app, user, device string, _ map[int]uint64) (projections.Summary, []uint64, error) {
	return s.Summary(app, user, device)
}

func TestCursorRoundTrip(t *testing.T) {
	for _, upto := range [][]uint64{{0}, {1, 2}, {math.MaxUint64, 0, 77}, make([]uint64, 64)} {
		s := &Summaries{Partitions: len(upto)}
		got, err := s.Upto("o#a", "alice", "", s.Cursor("o#a", "alice", "", upto))
		if err != nil || !slices.Equal(got, upto) {
			t.Errorf("%v: got %v, %v", upto, got, err)
		}
	}
}

func TestCursorRefused(t *testing.T) {
	s := &Summaries{Partitions: 6}
	good := s.Cursor("o#a", "alice", "", []uint64{300, 4, 1, 2, 3, 4})
	for name, cursor := range map[string]string{
		"empty":            "",
		"garbage":          "%%%",
		"cut":              good[:len(good)-2],
		"longer":           good + "AA",
		"very long":        strings.Repeat("A", 1<<20),
		"changed":          "B" + good[1:],
		"another user":     s.Cursor("o#a", "bob", "", []uint64{300, 4}),
		"a device":         s.Cursor("o#a", "alice", "phone", []uint64{300, 4}),
		"another app":      s.Cursor("o#b", "alice", "", []uint64{300, 4}),
		"more partitions":  s.Cursor("o#a", "alice", "", []uint64{300, 4, 1, 2, 3, 4, 5}),
		"fewer partitions": s.Cursor("o#a", "alice", "", []uint64{300, 4}),
	} {
		if upto, err := s.Upto("o#a", "alice", "", cursor); !errors.Is(err, ErrBadCursor) {
			t.Errorf("%s: %v, %v", name, upto, err)
		}
	}
}

// What a partition was told up to was told of the one that forked from it since.
func TestCursorOfBeforeARepartition(t *testing.T) {
	before, now := &Summaries{Partitions: 2}, &Summaries{Partitions: 8}
	upto, err := now.Upto("o#a", "alice", "", before.Cursor("o#a", "alice", "", []uint64{300, 4}))
	if err != nil || !slices.Equal(upto, []uint64{300, 4, 300, 4, 300, 4, 300, 4}) {
		t.Errorf("%v, %v", upto, err)
	}
}

// A cursor of another log is told from one that is none at all, and so is one of before cursors
// named their log.
func TestForeignCursor(t *testing.T) {
	ours, other := &Summaries{Partitions: 2, Log: 7}, &Summaries{Partitions: 2, Log: 8}
	more := &Summaries{Partitions: 64, Log: 8}
	old := binary.AppendUvarint(binary.AppendUvarint([]byte{1}, 300), 4)
	old = binary.BigEndian.AppendUint32(old, cursorSum("o#a", "alice", "", old))
	for name, cursor := range map[string]string{
		"another log":                    other.Cursor("o#a", "alice", "", []uint64{300, 4}),
		"another one of more partitions": more.Cursor("o#a", "alice", "", slices.Repeat([]uint64{math.MaxUint64}, 64)),
		"without a log":                  base64.RawURLEncoding.EncodeToString(old),
	} {
		if upto, err := ours.Upto("o#a", "alice", "", cursor); !errors.Is(err, ErrForeignCursor) || upto != nil {
			t.Errorf("%s: %v, %v", name, upto, err)
		}
		if _, err := ours.Upto("o#a", "bob", "", cursor); !errors.Is(err, ErrBadCursor) {
			t.Errorf("%s, of another user: %v", name, err)
		}
	}
}

func FuzzCursor(f *testing.F) {
	s := &Summaries{Partitions: 2}
	f.Add(s.Cursor("o#a", "alice", "", []uint64{300, 4}))
	f.Add("")
	f.Fuzz(func(t *testing.T, cursor string) {
		upto, err := s.Upto("o#a", "alice", "", cursor)
		if err == nil && len(upto) != 2 {
			t.Errorf("%q: %v", cursor, upto)
		}
	})
}

func TestPagesAcknowledgeOnlyTogether(t *testing.T) {
	var state fakeState
	for i := range 7 {
		state.items = append(state.items, projections.SummaryItem{Message: fmt.Sprint("m", i)})
	}
	state.upto = []uint64{9, 8}
	s := &Summaries{State: state, Partitions: 2}
	sum, err := s.Summary("o#a", "alice", "")
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	var all []projections.SummaryItem
	var cursors []string
	for page := range sum.Pages(3) {
		sizes = append(sizes, len(page.Items))
		all = append(all, page.Items...)
		cursors = append(cursors, page.Cursor)
	}
	if !slices.Equal(sizes, []int{3, 3, 1}) || !slices.Equal(all, state.items) || !slices.Equal(cursors, []string{"", "", sum.Cursor}) {
		t.Errorf("pages of %v with cursors %q", sizes, cursors)
	}
	if upto, err := s.Upto("o#a", "alice", "", sum.Cursor); err != nil || !slices.Equal(upto, state.upto) {
		t.Errorf("cursor stands at %v, %v", upto, err)
	}
	var dropped Summary
	dropped.Dropped, dropped.Cursor = 2, "c"
	if pages := slices.Collect(dropped.Pages(3)); len(pages) != 1 || pages[0].Dropped != 2 || pages[0].Cursor != "c" {
		t.Errorf("a summary that dropped all has the pages %+v", pages)
	}
	for range (Summary{Cursor: "c"}).Pages(3) {
		t.Error("a summary without items has a page")
	}
}

func TestSummaryPassesTheErrorOn(t *testing.T) {
	want := errors.New("not here")
	s := &Summaries{State: fakeState{err: want}, Partitions: 1}
	if _, err := s.Summary("o#a", "alice", ""); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
