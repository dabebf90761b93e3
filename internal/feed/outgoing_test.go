package feed

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// given is a partition's feeds with one that is for some users, after entry 10.
func given(users ...string) *outgoing {
	o := new(outgoing)
	o.folded(10)
	named(o, request{First: true, Last: true}, users...)
	return o
}

func named(o *outgoing, rq request, users ...string) reply {
	var list []uint64
	for _, user := range users {
		list = append(list, hash("o#a", user))
	}
	rq.ID, rq.Whom = "x", encodeHashes(list)
	return o.name(&rq, func() (uint64, error) { return 10, nil })
}

func effect(sequence uint64, user string) projections.Effect {
	return projections.Effect{App: "o#a", To: user, Message: fmt.Sprint("m", sequence), Sequence: sequence}
}

// polled is what a feed has after an entry, in short.
func polled(o *outgoing, after uint64) string {
	x := o.poll(context.Background(), &request{ID: "x", After: after, Wait: 100})
	if x.Problem != "" {
		return x.Problem
	}
	var list []string
	for i := range x.Effects {
		list = append(list, x.Effects[i].To+fmt.Sprint(x.Effects[i].Sequence))
	}
	return fmt.Sprint(x.After, "-", x.Upto, " ", strings.Join(list, " "))
}

// A feed has what the fold does to its users after where it began, until it is taken.
func TestFeedsHaveWhatIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := given("alice")
		expect := func(after uint64, want string) {
			t.Helper()
			if got := polled(o, after); got != want {
				t.Errorf("after %d: %s, want %s", after, got, want)
			}
		}
		expect(10, "10-10 ")
		o.push([]projections.Effect{effect(11, "alice"), effect(11, "bob"), effect(11, "alice")})
		expect(10, "10-11 alice11 alice11") // complete, though the fold has not said so
		o.folded(11)
		o.folded(12)
		expect(10, "10-12 alice11 alice11") // the answer may have been lost
		expect(12, "12-12 ")
		expect(11, "12-12 ") // that was taken: whoever asks for it sees a gap
		if x := named(o, request{}, "bob"); x.Users != 2 || !o.wants("o#a", "bob") || o.wants("o#a", "cleo") {
			t.Errorf("%+v", x)
		}
		// Named anew, those before are told of until all are named.
		named(o, request{First: true}, "cleo")
		if !o.wants("o#a", "bob") || o.wants("o#a", "cleo") {
			t.Error("the users were replaced before all were named")
		}
		if x := named(o, request{Last: true}, "alice"); x.Users != 2 || o.wants("o#a", "bob") || !o.wants("o#a", "cleo") {
			t.Errorf("%+v", x)
		}
	})
}

// A copy that is behind leaves out what its asker was told by another one, which it comes to later.
func TestFeedsLeaveOutWhatWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := given("alice")
		time.AfterFunc(50*time.Millisecond, func() {
			o.push([]projections.Effect{effect(11, "alice")})
			o.folded(11)
		})
		if got := polled(o, 12); got != "12-11 " {
			t.Errorf("behind its asker: %s", got)
		}
		for k := uint64(12); k <= 13; k++ {
			o.push([]projections.Effect{effect(k, "alice")})
			o.folded(k)
		}
		if got := polled(o, 12); got != "12-13 alice13" {
			t.Errorf("past its asker: %s", got)
		}
	})
}

// An entry's effects go together, and what goes over at a time is bounded.
func TestAnswersHaveWholeEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := given("alice")
		long := strings.Repeat("x", answerMax/4)
		for _, n := range []int{3, 3, 1} {
			list := make([]projections.Effect, n)
			for i := range list {
				list[i] = effect(o.upto+1, "alice")
				list[i].Content = long
			}
			o.push(list[:1])
			o.mu.Lock() // the bound is that of what waits, and is tested elsewhere
			for i := range list[1:] {
				o.feeds["x"].queue.list = append(o.feeds["x"].queue.list, list[1+i])
			}
			o.mu.Unlock()
			o.folded(o.upto + 1)
		}
		if got := polled(o, 10); got != "10-12 alice11 alice11 alice11 alice12 alice12 alice12" {
			t.Error(got)
		}
		if got := polled(o, 12); got != "12-13 alice13" {
			t.Error(got)
		}
	})
}

// A feed is over when it lacks something: what did not fit, or what a fold did not tell. So it is
// when nobody asks for it, and then the fold looks for nobody.
func TestFeedsThatLackSomethingAreOver(t *testing.T) {
	for name, fault := range map[string]func(o *outgoing){
		"not taken": func(o *outgoing) {
			e := effect(11, "alice")
			e.Content = strings.Repeat("x", 1000)
			for range queueMax/1000 + 1 {
				o.push([]projections.Effect{e})
			}
		},
		"entries left out": func(o *outgoing) { o.folded(12) },
		"nobody asks": func(o *outgoing) {
			time.Sleep(unasked + time.Millisecond) // the bubble's time
			o.expire()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := given("alice")
			o.expire()
			if got := polled(o, 10); got != "10-10 " {
				t.Errorf("%s: at first %s", name, got)
			}
			fault(o)
			if got := polled(o, 10); got != errNoFeed.Error() || o.wants("o#a", "alice") || o.users.Load() != 0 {
				t.Errorf("%s: %s, %d users", name, got, o.users.Load())
			}
		})
	}
}
