package router

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/cluster"
)

// A node without any partition knows an app while those do not answer that it would ask first: from
// another partition, and if nobody answers at all, from before.
func TestAnAppIsNotGoneBecauseANodeIs(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(configuredAs{Revision: 3, OK: true})
	if err != nil {
		t.Fatal(err)
	}
	answering := true
	b := &bus{answer: func(of eventlog.Position) *cluster.Answer {
		if of.Partition != 0 || !answering {
			return nil
		}
		return &cluster.Answer{Position: of, Result: text}
	}}
	r, _ := newRouterOf(t, 2, true, b)
	if _, revision, err := r.FindApp("acme#chat"); err != nil || revision != 3 {
		t.Errorf("the last partition does not answer: revision %d, %v", revision, err)
	}
	answering = false
	time.Sleep(rememberFor) // what was told is to be asked for again
	if _, revision, err := r.FindApp("acme#chat"); err != nil || revision != 3 {
		t.Errorf("nobody answers: revision %d, %v", revision, err)
	}
	if _, _, err := r.FindApp("acme#other"); err == nil || errors.Is(err, projector.ErrNoApp) {
		t.Errorf("nobody answers, and nothing was told before: %v", err)
	}
}
