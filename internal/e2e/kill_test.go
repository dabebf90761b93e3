package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKill9 kills the server at random moments under load. Whatever was answered is there after the next
// start, and in the end every count and every read set is what the traffic says: nothing is lost and nothing is
// doubled, although requests without an answer are sent again. Every fifth kill hits a replay.
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
		var replay *process
		if n%5 == 0 {
			replay = s.replay()
		}
		time.Sleep(time.Duration(50+r.IntN(650)) * time.Millisecond)
		answered := s.crash(l)
		if replay != nil {
			if _, err := replay.wait(); err != nil {
				t.Fatal(err)
			}
			s.oneGeneration()
		}
		if l.atLeast(answered); n%10 == 0 || replay != nil {
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

// TestKillWhileStarting kills the server at random moments of its first starts, while it makes its keys, its log and
// its state. Whatever was made so far is completed by the next start.
func TestKillWhileStarting(t *testing.T) {
	r := random(t)
	for range 8 {
		s := newServer(t, "--partitions=4")
		for range 4 {
			p, err := start("receiptd", []string{"--data", s.data, "--listen=127.0.0.1:0", "--partitions=4"}, environ())
			if err != nil {
				t.Fatal(err)
			}
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

// crash kills the server, starts it again, and returns what it had answered about some messages before.
func (s *server) crash(l *load) (answered map[string]int) {
	s.t.Helper()
	s.kill()
	answered = l.sample(100) // nothing is answered meanwhile
	s.start()
	return answered
}

// replay starts receiptctl replay on the running server.
func (s *server) replay() *process {
	s.t.Helper()
	p, err := start("receiptctl", s.target([]string{"replay", "--json"}), environ())
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// oneGeneration checks that there is one generation of every partition's state, the current one.
func (s *server) oneGeneration() {
	s.t.Helper()
	partitions, err := filepath.Glob(filepath.Join(s.data, "state", "p*"))
	if err != nil || len(partitions) == 0 {
		s.t.Fatalf("state: %q, %v", partitions, err)
	}
	for _, dir := range partitions {
		entries, err := os.ReadDir(dir)
		if err != nil {
			s.t.Fatal(err)
		}
		var generations []string
		for _, e := range entries {
			if e.IsDir() {
				generations = append(generations, e.Name())
			}
		}
		if current := s.generation(dir); len(generations) != 1 || generations[0] != current {
			s.t.Errorf("%s: generations %q, current is %q", dir, generations, current)
		}
	}
}
