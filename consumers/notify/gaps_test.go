package notify

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// told has what a subscriber was told of messages: by pushes until there is nothing for a second,
// or something was missed.
func told(t *testing.T, s *Subscription) (counts map[string]int, missed map[int]uint64) {
	t.Helper()
	counts = map[string]int{}
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		push, _, err := s.Poll()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range push.Notifications {
			counts[n.Message] = n.Count
		}
		if push.Missed != nil {
			return counts, push.Missed
		}
		time.Sleep(time.Millisecond)
	}
	return counts, nil
}

// What was not pushed is told by a summary after what was pushed before it, and before what was
// pushed after it; and nothing twice.
func TestWhatWasMissedIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(2, Options{})
		s := subscribe(t, n, "alice")
		expect := func(want map[string]int, missed map[int]uint64) {
			t.Helper()
			if got, m := told(t, s); !maps.Equal(got, want) || !maps.Equal(m, missed) {
				t.Fatalf("told %v, missed %v; want %v and %v", got, m, want, missed)
			}
		}
		n.SetRemote(0)
		elsewhere, own := groupRead(50, "m9", "bob", 2, 9), groupRead(21, "m8", "alice", 2, 9)
		elsewhere.Partition, own.Own = 1, true
		n.Push([]projections.Effect{groupRead(10, "m1", "bob", 2, 9), groupRead(10, "m2", "bob", 2, 9)})
		n.Missed(0, 10, 20)
		n.Push([]projections.Effect{groupRead(21, "m2", "cleo", 4, 9), groupRead(25, "m3", "bob", 2, 9), elsewhere, own})
		expect(map[string]int{"m1": 2, "m8": 2, "m9": 2}, map[int]uint64{0: 10})
		n.Missed(0, 25, 30) // before the first one was told
		n.Push([]projections.Effect{groupRead(31, "m4", "bob", 2, 9)})
		s.SkipUpto([]uint64{22, 0})
		expect(map[string]int{}, map[int]uint64{0: 22})
		s.SkipRemoteUpto([]uint64{30, 60})
		n.Push([]projections.Effect{groupRead(30, "m3", "bob", 3, 9), groupRead(32, "m5", "bob", 2, 9)})
		elsewhere.Sequence = 55
		n.Push([]projections.Effect{elsewhere})
		expect(map[string]int{"m4": 2, "m5": 2, "m9": 2}, nil)
		n.Missed(0, 20, 30) // a summary has told of that
		nothingWithin(t, s, time.Minute)
	})
}

// Users are those who are online, once each.
func TestUsersAreThoseOnline(t *testing.T) {
	n := New(1, Options{})
	subscribe(t, n, "alice")
	subscribe(t, n, "alice")
	subscribe(t, n, "bob")
	n.Subscribe("o#a", "cleo").Close()
	got := map[string]int{}
	for app, user := range n.Users() {
		got[app+" "+user]++
	}
	if !maps.Equal(got, map[string]int{"o#a alice": 1, "o#a bob": 1}) || n.Count() != 2 {
		t.Errorf("%v, %d", got, n.Count())
	}
}
