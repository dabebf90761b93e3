package ingest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/receiptd/receiptd/projections"
)

// Rejecter knows the latest rejections of an app, newest first.
type Rejecter interface {
	Rejections(app string, limit int) ([]projections.Rejection, error)
}

const (
	// hintSpan is how far back a hint looks, and hintRejections how many rejections it counts.
	hintSpan       = 10 * time.Minute
	hintRejections = 1000
	// hintFresh is how long a hint is given before the state is asked again.
	hintFresh = 200 * time.Millisecond
)

// Hints tells those who do not ask what became of their events that events of their app were
// rejected lately. Without it everybody's first receipts fail in silence: they are accepted, and a
// new app has group receipts off.
type Hints struct {
	state Rejecter
	apps  sync.Map // of *hint, by the app's key
}

// NewHints makes the hints of a state.
func NewHints(state Rejecter) *Hints { return &Hints{state: state} }

// hint is the cached hint of one app.
type hint struct {
	mu    sync.Mutex
	asked time.Time
	text  []byte
}

// Of is what an answer says of the rejections of an app, for [AppendPositions]; empty if there were
// none lately. It is at most 200 ms old. The app must be one that exists.
func (h *Hints) Of(app string) []byte {
	found, ok := h.apps.Load(app)
	if !ok {
		found, _ = h.apps.LoadOrStore(strings.Clone(app), new(hint))
	}
	x := found.(*hint)
	x.mu.Lock()
	defer x.mu.Unlock()
	if now := time.Now(); now.Sub(x.asked) > hintFresh {
		x.text, x.asked = h.ask(app, now), now
	}
	return x.text
}

func (h *Hints) ask(app string, now time.Time) []byte {
	list, err := h.state.Rejections(app, hintRejections)
	if err != nil {
		return nil // an answer without a hint is as true
	}
	since := now.Add(-hintSpan).UnixMilli()
	n := 0
	for n < len(list) && list[n].At >= since {
		n++
	}
	if n == 0 {
		return nil
	}
	return fmt.Appendf(nil, `,"rejected":{"last_10_minutes":%d,"reason":%q,"see":"/v1/apps/%s/rejections"}`,
		n, list[0].Outcome.Reason(), strings.Replace(app, "#", "/", 1))
}
