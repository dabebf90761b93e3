package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

type rejecter struct {
	list  []projections.Rejection
	err   error
	asked int
}

func (r *rejecter) Rejections(string, int) ([]projections.Rejection, error) {
	r.asked++
	return r.list, r.err
}

func TestHintCountsWhatWasRejectedLately(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration, o events.Outcome) projections.Rejection {
		return projections.Rejection{At: now.Add(-d).UnixMilli(), Outcome: o}
	}
	for _, test := range []struct {
		name  string
		state rejecter
		want  string
	}{
		{"nothing", rejecter{}, ""},
		{"long ago", rejecter{list: []projections.Rejection{ago(11*time.Minute, events.RejectedNotOpen)}}, ""},
		{"lately", rejecter{list: []projections.Rejection{ago(0, events.RejectedNotMember), ago(9*time.Minute, events.RejectedNotOpen), ago(time.Hour, events.RejectedNotOpen)}},
			`,"rejected":{"last_10_minutes":2,"reason":"not in group or chatroom","see":"/v1/apps/acme/chat/rejections"}`},
		{"a state that does not answer", rejecter{err: errors.New("no")}, ""},
	} {
		h := NewHints(&test.state)
		if got := string(h.Of("acme#chat")); got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
		for range 100 {
			h.Of("acme#chat")
		}
		if time.Since(now) < hintFresh && test.state.asked != 1 {
			t.Errorf("%s: the state was asked %d times at once", test.name, test.state.asked)
		}
	}
}
