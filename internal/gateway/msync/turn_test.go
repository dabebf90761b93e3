package msync

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway/admission"
)

// order is a log that keeps the order in which users submit.
type order struct {
	mu    sync.Mutex
	users []string
}

func (o *order) Submit(_ context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users = append(o.users, evs[0].User)
	return nil, nil
}

// Users take turns at the gate: one who sends much on many devices does not keep others waiting.
func TestUsersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(order)
		server := &Server{cfg: Config{Gate: admission.New(admission.Options{Decoding: 1}), Log: log}}
		busy, err := server.cfg.Gate.Enter(admission.Requester{App: "o#a"}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := busy.Turn(t.Context(), 1, 1); err != nil {
			t.Fatal(err)
		}
		for _, user := range append(slices.Repeat([]string{"loud"}, 16), "quiet") {
			c := &session{srv: server, app: "o#a", user: user}
			go func() {
				if _, err := c.admitted(t.Context(), []events.Event{{User: user}}); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		if len(log.users) > 0 {
			t.Fatalf("%v went past the gate", log.users)
		}
		busy.Release()
		synctest.Wait()
		if at := slices.Index(log.users, "quiet"); len(log.users) != 17 || at > 1 {
			t.Errorf("the quiet user was served in the order %v", log.users)
		}
	})
}
