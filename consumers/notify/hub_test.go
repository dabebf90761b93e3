package notify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// groupRead is the count-th read of a message of alice's in group g.
func groupRead(sequence uint64, message, reader string, count, eligible int) projections.Effect {
	return projections.Effect{
		Kind: events.MessageRead, App: "o#a", To: "alice", Group: "g", Message: message, Reader: reader,
		At: int64(sequence), Count: count, Eligible: eligible, Sequence: sequence,
	}
}

func subscribe(t *testing.T, n *Hub, user string) *Subscription {
	t.Helper()
	s := n.Subscribe("o#a", user, events.MessageRead, events.ConversationRead, events.ConversationMarkedUnread)
	t.Cleanup(s.Close)
	return s
}

func next(t *testing.T, s *Subscription) Push {
	t.Helper()
	push, err := s.Next(t.Context())
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return push
}

// nothingWithin fails if the subscription has something to tell within d.
func nothingWithin(t *testing.T, s *Subscription, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if push, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next: %+v, %v; want nothing", push, err)
	}
}

// TestAuthorPaysForMessagesNotForReaders has 200 members open a chat with 100 messages within a
// second.
func TestAuthorPaysForMessagesNotForReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members, messages = 200, 100
		const interval, span = 50 * time.Millisecond, time.Second
		n := New(1, Options{FlushInterval: interval})
		s := subscribe(t, n, "alice")

		var fold sync.WaitGroup
		defer fold.Wait()
		fold.Go(func() {
			sequence := uint64(0)
			for member := range members {
				var effects []projections.Effect
				for m := range messages {
					sequence++
					effects = append(effects, groupRead(sequence, fmt.Sprint("m", m), fmt.Sprint("u", member), member+1, members))
				}
				n.Push(effects)
				time.Sleep(span / members)
			}
		})

		began, pushes, notifications := time.Now(), 0, 0
		complete := make(map[string]bool)
		for len(complete) < messages {
			push := next(t, s)
			pushes++
			notifications += len(push.Notifications)
			seen := make(map[string]bool)
			for _, r := range push.Notifications {
				if seen[r.Message] {
					t.Fatalf("message %s twice in one push", r.Message)
				}
				seen[r.Message] = true
				if r.Count == r.Eligible {
					complete[r.Message] = true
				}
			}
		}
		intervals := int(time.Since(began)/interval) + 1
		// First and last at once, and one notification per message and interval between.
		if limit := messages * (intervals + 2); notifications > limit {
			t.Errorf("%d notifications for %d messages in %d intervals, at most %d", notifications, messages, intervals, limit)
		}
		if limit := intervals + 2; pushes > limit {
			t.Errorf("%d pushes in %d intervals, at most %d", pushes, intervals, limit)
		}
		t.Logf("%d receipts: %d notifications in %d pushes", members*messages, notifications, pushes)
	})
}

func TestFirstAndLastReaderAtOnceTheRestGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(2, Options{})
		s := subscribe(t, n, "alice")
		began := time.Now()

		n.Push([]projections.Effect{groupRead(1, "m1", "u1", 1, 4)})
		if push := next(t, s); time.Since(began) != 0 || push.Notifications[0].Count != 1 {
			t.Fatalf("first reader: %+v after %v", push, time.Since(began))
		}

		n.Push([]projections.Effect{groupRead(2, "m1", "u2", 2, 4)})
		time.Sleep(20 * time.Millisecond)
		n.Push([]projections.Effect{groupRead(3, "m1", "u3", 3, 4)})
		push := next(t, s)
		if got := time.Since(began); got != 50*time.Millisecond {
			t.Errorf("gathered for %v, want 50ms", got)
		}
		want := Notification{Kind: events.MessageRead, Group: "g", Message: "m1", Reader: "u3", At: 3, Count: 3, Eligible: 4}
		if len(push.Notifications) != 1 || push.Notifications[0] != want {
			t.Errorf("gathered %+v, want %+v", push.Notifications, want)
		}
		if push.Upto[0] != 3 || push.Upto[1] != 0 {
			t.Errorf("upto %v, want [3 0]", push.Upto)
		}

		began = time.Now()
		n.Push([]projections.Effect{groupRead(4, "m1", "u4", 4, 4)})
		if push := next(t, s); time.Since(began) != 0 || push.Notifications[0].Count != 4 {
			t.Errorf("last reader: %+v after %v", push, time.Since(began))
		}
	})
}

func TestUptoOnlyWhenNothingOlderWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Options{})
		s := subscribe(t, n, "alice")
		n.Push([]projections.Effect{
			groupRead(5, "m1", "u2", 2, 9),
			groupRead(6, "m2", "u1", 1, 9),
		})
		push := next(t, s)
		if len(push.Notifications) != 1 || push.Notifications[0].Message != "m2" || push.Upto != nil {
			t.Fatalf("urgent part: %+v, want m2 alone without upto", push)
		}
		push = next(t, s)
		if len(push.Notifications) != 1 || push.Notifications[0].Message != "m1" || push.Upto[0] != 6 {
			t.Fatalf("the rest: %+v, want m1 with upto 6", push)
		}
	})
}

func TestKindsAndSingleChatsAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Options{})
		s := subscribe(t, n, "alice")
		single := func(sequence uint64, kind events.Kind, message, reader string) projections.Effect {
			return projections.Effect{Kind: kind, App: "o#a", To: "alice", Message: message, Reader: reader, Count: 1, Eligible: 1, Sequence: sequence}
		}
		n.Push([]projections.Effect{
			single(1, events.MessageDelivered, "m1", "bob"),
			single(2, events.MessageRead, "m1", "bob"),
			single(3, events.MessageRead, "m1", "carol"), // the same id in another chat
			single(4, events.ConversationRead, "", "bob"),
			single(5, events.ConversationRead, "", "carol"),
		})
		if got := len(next(t, s).Notifications); got != 4 {
			t.Errorf("%d at once, want 4", got)
		}
		if push := next(t, s); push.Notifications[0].Kind != events.MessageDelivered {
			t.Errorf("then %+v, want the delivery", push)
		}
		nothingWithin(t, s, time.Second)
	})
}

func TestOverflowSendsToTheSummaryAndGoesOn(t *testing.T) {
	for name, opts := range map[string]Options{
		"messages": {MaxPending: 3},
		"bytes":    {MaxPendingBytes: 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1, opts)
				s := subscribe(t, n, "alice")
				for i := range uint64(1000) {
					n.Push([]projections.Effect{groupRead(i, fmt.Sprint("message", i), "u1", 2, 9)})
				}
				if len(s.pending) > 0 || len(s.index) > 0 || s.bytes > 0 {
					t.Errorf("kept %d notifications and %d bytes after the overflow", len(s.pending), s.bytes)
				}
				if push := next(t, s); !push.Resync || push.Notifications != nil || push.Upto != nil {
					t.Fatalf("push %+v, want a resync alone", push)
				}
				n.Push([]projections.Effect{groupRead(2000, "m", "u1", 2, 9)})
				if push := next(t, s); push.Resync || len(push.Notifications) != 1 {
					t.Errorf("after the resync: %+v", push)
				}
			})
		})
	}
}

func TestPushKeepsNoString(t *testing.T) {
	n := New(1, Options{})
	s := subscribe(t, n, "alice")
	buf := []byte("g1m1bobhello")
	text := unsafe.String(&buf[0], len(buf))
	n.Push([]projections.Effect{{
		Kind: events.MessageRead, App: "o#a", To: "alice", Group: text[:2], Message: text[2:4],
		Reader: text[4:7], Content: text[7:], Count: 1, Eligible: 2,
	}})
	clear(buf)
	got := next(t, s).Notifications[0]
	if got.Group != "g1" || got.Message != "m1" || got.Reader != "bob" || got.Content != "hello" {
		t.Errorf("got %+v, changed by its producer", got)
	}
}

func TestOnlineFollowsSubscriptionsOfTheUserAndApp(t *testing.T) {
	n := New(1, Options{})
	if n.Online("o#a", "alice") {
		t.Error("online before anybody subscribed")
	}
	first, second := n.Subscribe("o#a", "alice"), n.Subscribe("o#a", "alice")
	if !n.Online("o#a", "alice") || n.Online("o#b", "alice") || n.Online("o#a", "bob") {
		t.Error("online is not this user of this app alone")
	}
	n.Push([]projections.Effect{groupRead(1, "m1", "u1", 1, 2)})
	for _, s := range []*Subscription{first, second} {
		if len(next(t, s).Notifications) != 1 {
			t.Error("each subscription of a user gets everything")
		}
	}
	first.Close()
	first.Close()
	if !n.Online("o#a", "alice") {
		t.Error("offline although one subscription is left")
	}
	second.Close()
	if n.Online("o#a", "alice") {
		t.Error("online after the last subscription closed")
	}
	if _, err := first.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("next after close: %v", err)
	}
}

func TestCloseEndsSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1, Options{})
		s := subscribe(t, n, "alice")
		ended := make(chan error)
		go func() {
			_, err := s.Next(context.Background())
			ended <- err
		}()
		synctest.Wait()
		n.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("next: %v", err)
		}
		if _, err := subscribe(t, n, "bob").Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("next of a late subscription: %v", err)
		}
	})
}

// TestNothingIsLostAndUptoIsTrue runs random receipts of two partitions against a reader that is
// slow at times. Whatever is merged, the last count of each message arrives, counts never go back,
// and a position is only given when everything up to it was handed out.
func TestNothingIsLostAndUptoIsTrue(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		const partitions, messages, reads = 2, 30, 40
		n := New(partitions, Options{})
		s := subscribe(t, n, "alice")

		type told struct {
			message string
			count   int
		}
		var mu sync.Mutex
		var log [partitions][]told // by sequence - 1
		var folds sync.WaitGroup
		for p := range partitions {
			folds.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(p)))
				counts := make(map[string]int)
				for range messages * reads {
					m := fmt.Sprintf("p%dm%d", p, r.IntN(messages))
					counts[m]++
					mu.Lock()
					log[p] = append(log[p], told{m, counts[m]})
					sequence := uint64(len(log[p]))
					mu.Unlock()
					e := groupRead(sequence, m, "u", counts[m], 1000)
					e.Partition = p
					n.Push([]projections.Effect{e})
					if r.IntN(4) == 0 {
						time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { folds.Wait(); close(done) }()

		r := rand.New(rand.NewPCG(seed, 99))
		latest := make(map[string]int)
		for finished := false; !finished; {
			select {
			case <-done:
				finished = true
				time.Sleep(time.Second)
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			push, err := s.Next(ctx)
			cancel()
			if err != nil {
				continue
			}
			for _, got := range push.Notifications {
				if got.Count <= latest[got.Message] {
					t.Fatalf("%s: count %d after %d", got.Message, got.Count, latest[got.Message])
				}
				latest[got.Message] = got.Count
			}
			mu.Lock()
			for p, upto := range push.Upto {
				for _, e := range log[p][:upto] {
					if latest[e.message] < e.count {
						t.Fatalf("upto %v covers count %d of %s, told %d", push.Upto, e.count, e.message, latest[e.message])
					}
				}
			}
			mu.Unlock()
			if r.IntN(10) == 0 {
				time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
			}
		}
		for p := range partitions {
			for _, e := range log[p] {
				if latest[e.message] < e.count {
					t.Fatalf("%s: told %d of %d reads", e.message, latest[e.message], e.count)
				}
			}
		}
	})
}

// BenchmarkOnline guards what the fold pays per receipt.
func BenchmarkOnline(b *testing.B) {
	for _, online := range []int{0, 10_000} {
		b.Run(fmt.Sprint(online), func(b *testing.B) {
			n := New(2, Options{})
			for i := range online {
				defer n.Subscribe("o#a", fmt.Sprint("user", i)).Close()
			}
			for b.Loop() {
				n.Online("o#a", "somebody")
			}
		})
	}
}

// BenchmarkPush is the cost per receipt of an author who is online, in entries of 512.
func BenchmarkPush(b *testing.B) {
	n := New(1, Options{})
	s := n.Subscribe("o#a", "alice")
	defer s.Close()
	effects := make([]projections.Effect, 512)
	for i := range effects {
		effects[i] = groupRead(uint64(i), fmt.Sprint("message", i/16), fmt.Sprint("user", i), 2, 200)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n.Push(effects)
		if i%16 == 0 {
			s.mu.Lock()
			s.takeWhere(func(*Notification) bool { return true })
			s.mu.Unlock()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(effects)), "ns/receipt")
}

// What a summary has told of is not pushed as well, whether it waited before the summary was read
// or comes after it. What came later is, with the latest count; so is what users did themselves.
func TestWhatASummaryToldIsNotPushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(2, Options{FlushInterval: time.Millisecond})
		s := subscribe(t, n, "alice")
		elsewhere := groupRead(3, "m3", "bob", 1, 3)
		elsewhere.Partition = 1
		own := groupRead(4, "m4", "alice", 0, 3)
		own.Own = true
		n.Push([]projections.Effect{groupRead(5, "m1", "bob", 1, 3), groupRead(5, "m2", "bob", 1, 3), groupRead(8, "m2", "cleo", 2, 3), elsewhere, own})
		s.SkipUpto([]uint64{7, 2})
		n.Push([]projections.Effect{groupRead(6, "m1", "cleo", 2, 3), groupRead(7, "m5", "cleo", 1, 3), groupRead(9, "m6", "cleo", 1, 3)})
		got := map[string]int{}
		for range 4 {
			for _, x := range next(t, s).Notifications {
				got[x.Message] = x.Count
			}
			time.Sleep(time.Second)
			if len(got) == 4 {
				break
			}
		}
		if want := map[string]int{"m2": 2, "m3": 1, "m4": 0, "m6": 1}; !maps.Equal(got, want) {
			t.Errorf("pushed %v, want %v", got, want)
		}
		nothingWithin(t, s, time.Minute)
	})
}
