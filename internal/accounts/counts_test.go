package accounts

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// openShared is one of several processes: an app has three users and four groups, and a user makes
// three of these.
func openShared(t *testing.T, nc *nats.Conn) *Accounts {
	t.Helper()
	a, err := Open(testContext(t), nc, Config{MaxUsers: 3, MaxGroups: 4, MaxGroupsOfUser: 3, Invitations: manyInvitations, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// age has all that was counted be so for an hour.
func (a *Accounts) age() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.counts {
		x.counted = time.Now().Add(-time.Hour)
	}
}

// TestWhatOtherProcessesStoreIsCounted, and makes room again when they have removed it.
func TestWhatOtherProcessesStoreIsCounted(t *testing.T) {
	t.Parallel()
	nc := connection(t)
	a, b := openShared(t, nc), openShared(t, nc)
	register := func(x *Accounts, user string, want error) {
		t.Helper()
		if err := x.Register(testContext(t), app, user, "secret", ""); !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", user, err, want)
		}
	}
	register(a, "ann", nil)
	register(b, "ben", nil)
	a.age()
	register(a, "cleo", nil)
	b.age()
	register(b, "dan", ErrFull)
	register(a, "dan", ErrFull)

	claim := func(x *Accounts, user, group string, want error) {
		t.Helper()
		if err := x.ClaimGroup(testContext(t), app, user, group, GroupProfile{}); !errors.Is(err, want) {
			t.Fatalf("%s makes %s: %v, want %v", user, group, err, want)
		}
	}
	claim(b, "ann", "1", nil)
	for _, group := range []string{"2", "3"} {
		claim(a, "ann", group, nil)
	}
	b.age()
	claim(b, "ann", "4", ErrTooManyGroups) // of ann's own there are three
	claim(b, "ben", "4", nil)
	claim(b, "cleo", "5", ErrTooManyGroups) // the app has four
	if err := a.DropGroup(testContext(t), app, "ann", "1"); err != nil {
		t.Fatal(err)
	}
	b.age()
	claim(b, "cleo", "5", nil)
}

// TestWhatIsOnItsWayIsCounted, however often all is counted anew meanwhile.
func TestWhatIsOnItsWayIsCounted(t *testing.T) {
	t.Parallel()
	a := openShared(t, connection(t))
	var claiming, aging sync.WaitGroup
	var made atomic.Int64
	over := make(chan struct{})
	aging.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				a.age()
			}
		}
	})
	claim := func(i int) {
		switch err := a.ClaimGroup(testContext(t), app, fmt.Sprint("user", i), fmt.Sprint(i), GroupProfile{}); {
		case err == nil:
			made.Add(1)
		case !errors.Is(err, ErrTooManyGroups):
			t.Error(err)
		}
	}
	for i := range 64 {
		claiming.Go(func() { claim(i) })
	}
	claiming.Wait()
	close(over)
	aging.Wait()
	if n := made.Load(); n > 4 {
		t.Errorf("%d groups were made, and there may be 4", n)
	}
	for i := range 4 { // one that was stored may have been counted twice while others were refused
		a.age()
		claim(100 + i)
	}
	if n := made.Load(); n != 4 {
		t.Errorf("%d groups were made, and there may be 4", n)
	}
}

// TestCountingTakesItsShare: nothing is counted again before fifty times as long as it took.
func TestCountingTakesItsShare(t *testing.T) {
	t.Parallel()
	nc := connection(t)
	a, b := openShared(t, nc), openShared(t, nc)
	if _, err := a.count(testContext(t), groupsOf(app)); err != nil {
		t.Fatal(err)
	}
	if err := b.ClaimGroup(testContext(t), app, "ann", "1", GroupProfile{}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ago, took time.Duration
		want      int
	}{{59 * time.Second, 2 * time.Second, 0}, {101 * time.Second, 2 * time.Second, 1}} {
		a.mu.Lock()
		a.counts[groupsOf(app)].counted, a.counts[groupsOf(app)].took = time.Now().Add(-test.ago), test.took
		a.mu.Unlock()
		if x, err := a.count(testContext(t), groupsOf(app)); err != nil || x.stored != test.want {
			t.Errorf("counted %v ago, which took %v: %d, %v, want %d", test.ago, test.took, x.stored, err, test.want)
		}
	}
}
