package httpapi

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway/ingest"
)

// postReceipts appends what a user reports of themselves: what they received, read and marked. It
// is postEvents with fewer kinds of events and without user, and is bounded for each user.
func (a *API) postReceipts(c *call) error {
	c.reporter = c.r.PathValue("user")
	if err := a.mayReport(c, 0); err != nil {
		return err // before the body is read
	}
	return a.postEvents(c)
}

// notOwn says why an event is none that the user may report.
func notOwn(e *events.Event, user string) *events.FieldError {
	if !e.Kind.IsOwn() {
		return &events.FieldError{Field: "type", Problem: e.Kind.String() + " is no receipt"}
	}
	if e.User != user {
		return &events.FieldError{Field: "user", Problem: "not the user whose receipts these are"}
	}
	return nil
}

// groupsOf are the groups of events, "" for single chats. The events' memory is used again before
// they are answered.
func groupsOf(list []events.Event) []string {
	groups := make([]string, len(list))
	for i := range list {
		groups[i] = strings.Clone(list[i].Group)
	}
	return groups
}

// mayReport takes n receipts out of what the reporter may report now; with none it asks whether
// that is anything at all. The admin may report as much as they like.
func (a *API) mayReport(c *call, n int) error {
	if c.reporter == "" || c.Admin {
		return nil
	}
	if most := a.reporters.burst(); n > most {
		return ingest.TooManyEvents(most)
	}
	return a.ration(c, c.reporter, n)
}

// mayWrite takes one out of what a user may report, for another call of theirs that ends up in the
// log. The admin may write as much as they like.
func (a *API) mayWrite(c *call) error {
	if c.Admin {
		return nil
	}
	return a.ration(c, c.User, 1)
}

func (a *API) ration(c *call, user string, n int) error {
	wait := a.reporters.take(reporter{c.app, user}, n, time.Now())
	if wait <= 0 {
		return nil
	}
	return newError(http.StatusTooManyRequests, "rate_limited",
		"more than "+strconv.Itoa(a.reporters.perSecond)+" receipts and changes a second of this user; nothing of the request was stored",
	).again(int(math.Ceil(wait.Seconds())))
}

// reporters bounds what each user reports: so many receipts a second, after a burst of as many as
// in ten seconds.
type reporters struct {
	perSecond int

	mu    sync.Mutex
	users map[reporter]*rate.Limiter
	// sweepAt is the number of users from which on those are forgotten who may report a whole burst
	// again: that is how they would begin.
	sweepAt int
}

type reporter struct{ app, user string }

// minSweep is the least number of users at which reporters looks whom it can forget.
const minSweep = 1024

func newReporters(perSecond int) *reporters {
	return &reporters{perSecond: perSecond, users: map[reporter]*rate.Limiter{}, sweepAt: minSweep}
}

func (l *reporters) burst() int { return 10 * l.perSecond }

// take takes n receipts, or says how long until they can be taken. Zero receipts take as long as a
// single one, and are not taken.
func (l *reporters) take(who reporter, n int, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.users[who]
	if x == nil {
		if len(l.users) >= l.sweepAt {
			l.sweep(now)
		}
		x = rate.NewLimiter(rate.Limit(l.perSecond), l.burst())
		l.users[who] = x
	}
	r := x.ReserveN(now, max(n, 1))
	if wait = r.DelayFrom(now); wait > 0 || n == 0 {
		r.CancelAt(now)
	}
	return wait
}

// sweep forgets the users whose burst is whole.
func (l *reporters) sweep(now time.Time) {
	for who, x := range l.users {
		if x.TokensAt(now) >= float64(l.burst()) {
			delete(l.users, who)
		}
	}
	l.sweepAt = max(minSweep, 2*len(l.users))
}
