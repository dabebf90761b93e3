package e2e

import (
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// TestOutsideNATS runs on a NATS server elsewhere, which goes away and comes back under load.
// Meanwhile the server says that it is not ready, and recovers by itself; nothing is lost or
// doubled, also when the server itself is killed.
func TestOutsideNATS(t *testing.T) {
	r := random(t)
	broker := natstest.StartServer(t)
	s := startServer(t, "--nats="+broker.URL(), "--partitions=2")
	l := newLoad(s, r.Uint64(), 4)
	l.start()
	for range 3 {
		time.Sleep(time.Duration(200+r.IntN(400)) * time.Millisecond)
		folded := l.sample(50)
		eventually(t, "what was answered is folded", func() bool { return l.missing(folded) == nil })
		broker.Stop()
		eventually(t, "the server is not ready", func() bool {
			err := s.call("GET", "/readyz", nil, nil)
			refused, ok := err.(*refusal)
			return ok && refused.status == 503
		})
		if err := s.call("GET", "/healthz", nil, nil); err != nil {
			t.Errorf("health without the broker: %v", err)
		}
		l.atLeast(folded) // questions are answered from the state
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
		broker.Start()
		s.ready()
		before := l.accepted()
		eventually(t, "events are accepted again", func() bool { return l.accepted() > before+2000 })
	}
	answered := s.crash(l)
	l.atLeast(answered)
	l.finish()
	l.exact()
	s.verify()
}

// A server that cannot reach its NATS says so and exits; it does not wait forever.
func TestUnreachableNATSIsRefused(t *testing.T) {
	broker := natstest.StartServer(t)
	url := broker.URL()
	broker.Stop()
	began := time.Now()
	got := run(t, "receiptd", nil, "--data", t.TempDir(), "--listen=127.0.0.1:0", "--nats="+url)
	if got.code != 1 || time.Since(began) > patience {
		t.Errorf("after %s: %v", time.Since(began), got)
	}
	broker.Start()
}
