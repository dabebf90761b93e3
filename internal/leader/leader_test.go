package leader

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const unavailable = `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`

// A server that has just started cannot tell, and says so. It is asked again until somebody can, or
// the caller does not wait any longer.
func TestServersThatCannotTellAreAskedAgain(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var asked atomic.Int32
	var never atomic.Bool
	if _, err := nc.Subscribe("$JS.API.STREAM.MSG.GET.S", func(m *nats.Msg) {
		answer := unavailable
		if asked.Add(1) == 3 && !never.Load() {
			answer = `{"message":{"subject":"a","seq":7}}`
		}
		_ = m.Respond([]byte(answer))
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if m, err := At(ctx, nc, "S", 7); err != nil || m.Sequence != 7 || asked.Load() != 3 {
		t.Errorf("%+v, %v, asked %d times", m, err, asked.Load())
	}
	never.Store(true)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := At(short, nc, "S", 7); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody could tell: %v", err)
	}
}
