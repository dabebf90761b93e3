package e2e

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestKill9 kills the server at random moments under load. Whatever was answered is there after the
// next start, and in the end every count and every read set is what the traffic says: nothing is
// lost and nothing is doubled, although requests without an answer are sent again. At every fifth
// kill a replay is under way.
func TestKill9(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 10
	}
	r := random(t)
	s := startServer(t)
	l := newLoad(s, r.Uint64(), 4)
	l.start()
	began := time.Now()
	for n := 1; n <= kills; n++ {
		replays := n%5 == 0
		var replaying sync.WaitGroup
		if replays {
			replaying.Go(s.replayUntilKilled())
		}
		time.Sleep(time.Duration(50+r.IntN(650)) * time.Millisecond) // a random moment
		answered := s.crash(l)
		replaying.Wait()
		if l.atLeast(answered); replays {
			s.oneGeneration()
			s.verify()
		}
	}
	l.finish()
	l.exact()
	v := s.verify()
	total := l.totals()
	t.Logf("%d kills in %s: %d events of %d messages, %d requests cut off, %d events in the log",
		kills, time.Since(began).Round(time.Second), total.Events, total.Messages, l.cut.Load(), v.Events)
	if l.cut.Load() == 0 {
		t.Error("no kill hit a request under way")
	}
}

// TestKillWhileStarting kills the server at random moments of its first starts, while it makes its
// keys, its log and its state. Whatever was made so far is completed by the next start.
func TestKillWhileStarting(t *testing.T) {
	r := random(t)
	for range 8 {
		s := newServer(t, "--partitions=4")
		for range 4 {
			p, err := start("receiptd", []string{"--data", s.data, "--listen=127.0.0.1:0", "--partitions=4"}, environ())
			if err != nil {
				t.Fatal(err)
			}
			// A random moment of the start.
			time.Sleep(time.Duration(r.IntN(120)) * time.Millisecond)
			p.signal(syscall.SIGKILL)
			if _, err := p.wait(); err != nil {
				t.Fatal(err)
			}
			if text := p.err.String(); strings.Contains(text, "receiptd: ") {
				t.Errorf("refused to start: %s", text)
			}
		}
		s.start()
		s.must("PUT", appPath(chatApp), struct{}{}, nil)
		s.chat("x", 0, 10)
		s.verify()
		s.kill()
	}
}

// crash kills the server, starts it again, and returns what it had answered about some messages
// before.
func (s *server) crash(l *load) (answered map[string]int) {
	s.t.Helper()
	s.kill()
	answered = l.sample(100) // nothing is answered meanwhile
	s.start()
	return answered
}

// replayUntilKilled returns a function that has the running server replay again and again until it
// is gone.
func (s *server) replayUntilKilled() func() {
	target := s.target([]string{"replay", "--json"})
	return func() {
		for code := 0; code == 0; {
			p, err := start("receiptctl", target, environ())
			if err == nil {
				code, err = p.wait()
			}
			if err != nil {
				s.t.Error(err)
				return
			}
		}
	}
}
