package doors

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowDoor answers each receipt after a time, one after the other, and notes how many were without
// an answer at most.
type slowDoor struct {
	sent       chan struct{}
	open, most atomic.Int64
}

func (d *slowDoor) send([]byte) error {
	d.most.Store(max(d.most.Load(), d.open.Add(1)))
	d.sent <- struct{}{}
	return nil
}

func (d *slowDoor) answers() (int, error) {
	<-d.sent
	time.Sleep(10 * time.Millisecond) // in a synctest bubble
	d.open.Add(-1)
	return 1, nil
}

func (d *slowDoor) flush() error { return nil }
func (d *slowDoor) close()       {}

// No more are in flight than was asked for, and the time of a receipt begins when it is sent or, at
// a rate, when it was due.
func TestClientsKeepWhatIsInFlight(t *testing.T) {
	for _, test := range []struct {
		inFlight    int
		rate        float64
		first, last time.Duration // what the first and the last receipt take
	}{
		{inFlight: 1, first: 10 * time.Millisecond, last: 10 * time.Millisecond},
		{inFlight: 4, first: 10 * time.Millisecond, last: 40 * time.Millisecond},
		{inFlight: 1, rate: 50, first: 10 * time.Millisecond, last: 10 * time.Millisecond},
		{inFlight: 1, rate: 200, first: 10 * time.Millisecond, last: 500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &slowDoor{sent: make(chan struct{}, 1000)}
			c := &client{door: d, traffic: newTraffic(1)}
			if err := c.run(Options{Clients: 1, InFlight: test.inFlight, Rate: test.rate, Duration: time.Second}, time.Now()); err != nil {
				t.Fatal(err)
			}
			if most := d.most.Load(); most != int64(test.inFlight) {
				t.Errorf("%+v: %d in flight", test, most)
			}
			last := c.took[len(c.took)-1]
			if c.took[0] != test.first || last < test.last-10*time.Millisecond || last > test.last+10*time.Millisecond {
				t.Errorf("%+v: the first took %v, the last %v", test, c.took[0], last)
			}
			if int64(len(c.took)) != c.answered {
				t.Errorf("%+v: %d times of %d receipts", test, len(c.took), c.answered)
			}
		})
	}
}
