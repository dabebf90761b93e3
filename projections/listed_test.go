package projections_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func sendsOf(from, to int) (list []events.Event) {
	for i := from; i <= to; i++ {
		list = append(list, events.Event{Kind: events.MessageSent, Group: "g", User: "ann", Message: fmt.Sprint("m", i)})
	}
	return list
}

func recallOf(i int) events.Event {
	return events.Event{Kind: events.MessageRecalled, Group: "g", User: "ann", Message: fmt.Sprint("m", i)}
}

// lists is which messages of the group a partition lists, and which are unread to ben.
func lists(t *testing.T, part *projections.Partition) string {
	t.Helper()
	all, err := part.GroupMessages(theApp, "g", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	unread, err := part.UnreadMessages(theApp, "g", "", "ben", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range all.Messages {
		ids = append(ids, m.ID)
	}
	ids = append(ids, "unread", fmt.Sprint(unread.Unread))
	for _, m := range unread.Messages {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, " ")
}

// TestGroupsOfAnEarlierVersionAreListed: messages that an earlier version listed in rows, and those
// that come after them, are what they are in a state of this version.
func TestGroupsOfAnEarlierVersionAreListed(t *testing.T) {
	for _, sent := range []int{1, 15, 16, 17, 40} { // before the upgrade
		now, before := memory{}, memory{}
		part := open(t, now, projections.Options{})
		foldEach(t, part, 1000, append([]events.Event{
			{Kind: events.AppConfigured, Settings: countsAbove(100), Revision: 1},
			{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}},
		}, sendsOf(1, sent)...)...)
		settle(t, now, part)
		if sent > 3 {
			foldEach(t, part, 2000, recallOf(3))
			settle(t, now, part)
		}
		rows := 0
		for k, v := range now {
			for k, v := range projections.EarlierRows(k, v) {
				if before[k] = v; k[0] == 'q' {
					rows++
				}
			}
		}
		if want := sent - min(1, sent/4); rows != want {
			t.Fatalf("%d rows of %d messages", rows, want)
		}

		type state struct {
			name string
			memory
			*projections.Partition
		}
		states := []state{{"of this version", now, nil}, {"of an earlier version", before, nil}}
		// Each step on a partition that has nothing in memory, and on one that has.
		steps := [][]events.Event{
			nil,
			{recallOf(1)},
			sendsOf(sent+1, sent+1),
			{recallOf(sent + 1), recallOf(sent - 1)},
			{{Kind: events.ConversationRead, Group: "g", User: "ben", Message: "m2"}},
			sendsOf(sent+2, sent+30),
			{recallOf(sent + 20)},
		}
		for _, warm := range []bool{false, true} {
			for i, step := range steps {
				for j := range step {
					if warm && step[j].Kind == events.MessageSent {
						step[j].Message += "w"
					}
				}
				var want string
				for k := range states {
					s := &states[k]
					if s.Partition == nil || !warm {
						s.Partition = open(t, s.memory, projections.Options{})
					}
					foldEach(t, s.Partition, 3000, step...)
					got := lists(t, s.Partition)
					settle(t, s.memory, s.Partition)
					got += "\n" + lists(t, open(t, s.memory, projections.Options{}))
					if k == 0 {
						want = got
					} else if got != want {
						t.Fatalf("%d sent, step %d, warm %v: a state %s lists\n%s, one %s\n%s", sent, i, warm, s.name, got, states[0].name, want)
					}
				}
			}
		}
	}
}

// TestBlocksFollowFromTheLog: what is stored of a group's messages is the same wherever checkpoints
// fall.
func TestBlocksFollowFromTheLog(t *testing.T) {
	log := append([]events.Event{
		{Kind: events.AppConfigured, Settings: countsAbove(100), Revision: 1},
		{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}},
	}, sendsOf(1, 40)...)
	for i := range 20 {
		log = append(log, recallOf(17+i)) // a whole block, and some of the next
	}
	log = append(log, sendsOf(41, 45)...)
	want := ""
	for every := range 50 {
		s := memory{}
		part := open(t, s, projections.Options{})
		for i, e := range log {
			foldEach(t, part, 1000, e)
			if every > 0 && i%every == 0 {
				settle(t, s, part)
			}
			if every%2 == 1 && i%every == 0 {
				part = open(t, s, projections.Options{}) // with nothing in memory
			}
		}
		settle(t, s, part)
		if got := s.dump(); want == "" {
			want = got
		} else if got != want {
			t.Fatalf("a checkpoint every %d entries makes\n%s, none\n%s", every, got, want)
		}
	}
}

// TestBlocksHaveIdsOfAllKinds: what is read of a block is what was written, and no bytes of others
// are taken for messages that there cannot be.
func TestBlocksHaveIdsOfAllKinds(t *testing.T) {
	s := memory{}
	part := open(t, s, projections.Options{})
	ids := []string{
		"9999999999999999999", "1", "18446744073709551615", "x", "2", "007", "1048576", "1048577",
		strings.Repeat("ü", 60), "01234567-89ab-cdef-0123-456789abcdef", "5", "4", "3",
	}
	log := []events.Event{
		{Kind: events.AppConfigured, Settings: countsAbove(100), Revision: 1},
		{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}},
	}
	for i, id := range ids {
		log = append(log, events.Event{Kind: events.MessageSent, Group: "g", User: []string{"ann", "ben"}[i%2], Message: id, Silent: i%3 == 0})
	}
	foldEach(t, part, 1000, log...)
	want := lists(t, part)
	settle(t, s, part)
	if got := lists(t, open(t, s, projections.Options{})); got != want {
		t.Errorf("stored as\n%s\n, read as\n%s", want, got)
	}
	for k, v := range s {
		for i := 0; k[0] == 'L' && i < len(v); i++ {
			for bit := range 8 {
				s[k] = v[:i] + string([]byte{v[i] ^ 1<<bit}) + v[i+1:]
				// An error is right, and so is another list; a panic is not.
				_, _ = open(t, s, projections.Options{}).GroupMessages(theApp, "g", 0, 100)
			}
		}
	}
}
