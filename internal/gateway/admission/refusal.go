package admission

import (
	"context"
	"fmt"
	"time"
)

// Refusal is why a request does not get in. Nothing of it was stored.
type Refusal struct {
	Reason Reason
	// RetryAfter is when it pays to come again, in whole seconds.
	RetryAfter time.Duration
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("admission: %s; come again after %s", r.Reason, r.RetryAfter)
}

// Reason is a label of the metric of refusals, too.
type Reason string

// The reasons.
const (
	// OverShare: the app has more waiting than its share, while others wait.
	OverShare Reason = "over_share"
	// QueueFull: what waits takes longer than anybody should wait.
	QueueFull Reason = "queue_full"
	// MemoryFull: there is no memory for what arrives, or the app or the address has half of it.
	MemoryFull Reason = "memory_full"
	// Late: its turn did not come in time, or the log had no room in time.
	Late Reason = "late"
	// Crowded: too many questions wait.
	Crowded Reason = "crowded"
)

var reasons = []Reason{OverShare, QueueFull, MemoryFull, Late, Crowded}

// What Retry-After is at least and at most.
const (
	retryMin = time.Second
	retryMax = 30 * time.Second
)

// refuse makes a refusal of a request of the app for n bytes, which is expected to come again. g.mu
// is held.
func (g *Gate) refuse(a *account, door string, reason Reason, n int64) *Refusal {
	now := time.Now()
	if a.due.Before(now) {
		a.due = now
	}
	// By then the queue has been drained, and what was refused before.
	share := g.rate.value() * a.weight / max(a.weight, g.weights)
	a.due = a.due.Add(time.Duration(float64(n) / share * float64(time.Second)))
	if latest := now.Add(retryMax); a.due.After(latest) {
		a.due = latest
	}
	wait := (a.due.Sub(now) + time.Second - 1).Truncate(time.Second)
	g.metrics.refused.WithLabelValues(door, string(reason)).Inc()
	return &Refusal{Reason: reason, RetryAfter: max(retryMin, min(wait, retryMax))}
}

// Pace waits until a refusal may be answered, at most until the context ends.
func (g *Gate) Pace(ctx context.Context) {
	_ = g.refusals.Wait(ctx) // the end of the context ends it
}
