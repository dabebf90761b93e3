package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// streamDir is where a stream of the embedded log lies.
func (s *server) streamDir(stream string) string {
	return filepath.Join(s.data, "log", "jetstream", "RECEIPTS", "streams", stream)
}

// flip changes one bit in the middle of a file.
func (s *server) flip(path string) {
	s.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// refuses starts the server, which must exit with an error that says all of the words.
func (s *server) refuses(words ...string) {
	s.t.Helper()
	got := run(s.t, "receiptd", nil, append([]string{"--data", s.data, "--listen=127.0.0.1:0"}, s.args...)...)
	if got.code == 0 {
		s.t.Fatalf("it served: %v", got)
	}
	for _, w := range words {
		if !strings.Contains(got.err, w) {
			s.t.Errorf("the refusal does not say %q: %v", w, got)
		}
	}
}

// doctor runs receiptctl doctor on the stopped server's data and returns the codes of what
// is fatal.
func (s *server) doctor(wantExit int) (codes []string) {
	s.t.Helper()
	got := run(s.t, "receiptctl", nil, "doctor", "--data", s.data, "--json")
	var x struct {
		Healthy  bool
		Findings []struct {
			Code, Do string
			Fatal    bool
		}
	}
	if err := json.Unmarshal([]byte(got.out), &x); err != nil || got.code != wantExit || x.Healthy != (wantExit == 0) {
		s.t.Fatalf("doctor: %v, %v", err, got)
	}
	for _, f := range x.Findings {
		if f.Do == "" {
			s.t.Errorf("%s: nothing to do is said", f.Code)
		}
		if f.Fatal {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

// attested waits until the log's witness says something: it is behind what was
// acknowledged, on an idle machine by 50 ms.
func (s *server) attested(pattern string) {
	s.t.Helper()
	says := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		for _, name := range []string{"witness.0", "witness.1"} {
			if text, err := os.ReadFile(filepath.Join(s.data, "witness", name)); err == nil && says.Match(text) {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the witness never said %s", pattern)
		}
	}
}

func (s *server) found(id string) bool {
	s.t.Helper()
	var m message
	err := s.call("GET", messagePath(chatApp, id), nil, &m)
	if r := (*refusal)(nil); errors.As(err, &r) && strings.HasSuffix(r.Body.Code, "_not_found") {
		return false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return true
}

// TestDamagedLogIsNeverServedAsWhole does to a stopped server's log what disks and people do. The
// server refuses it, naming what is wrong; the doctor does too; and after the loss was accepted all
// that was good is there, and what was lost is told.
func TestDamagedLogIsNeverServedAsWhole(t *testing.T) {
	const messages = 100
	fill := func(t *testing.T) *server {
		s := startServer(t, "--partitions=2")
		s.must("PUT", appPath(chatApp), struct{}{}, nil)
		s.chat("before", 0, messages)
		var status struct {
			Partitions []struct{ Partition, Stored int }
		}
		s.must("GET", "/v1/status", nil, &status)
		for _, p := range status.Partitions {
			s.attested(fmt.Sprintf(`"RECEIPTS_%d","created":"[^"]+","last":%d,`, p.Partition, p.Stored))
		}
		s.kill()
		return s
	}
	block := func(s *server) string {
		s.t.Helper()
		list, err := filepath.Glob(filepath.Join(s.streamDir("RECEIPTS_0"), "msgs", "*.blk"))
		if err != nil || len(list) != 1 {
			s.t.Fatalf("blocks: %v, %v", list, err)
		}
		return list[0]
	}
	for _, test := range []struct {
		name   string
		damage func(s *server)
		code   string
		lost   int // messages; -1 for some
	}{
		{"a bit", func(s *server) { s.flip(block(s)) }, "block_damaged", 1},
		{"half of a block", func(s *server) {
			info, err := os.Stat(block(s))
			if err == nil {
				err = os.Truncate(block(s), info.Size()/2)
			}
			if err != nil {
				s.t.Fatal(err)
			}
		}, "log_shorter", -1},
		{"a partition", func(s *server) {
			if err := os.RemoveAll(s.streamDir("RECEIPTS_0")); err != nil {
				s.t.Fatal(err)
			}
		}, "stream_missing", -1},
		{"the volume", func(s *server) {
			if err := os.RemoveAll(filepath.Join(s.data, "log")); err != nil {
				s.t.Fatal(err)
			}
		}, "stream_missing", messages},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := fill(t)
			if codes := s.doctor(0); len(codes) > 0 {
				t.Errorf("whole, and the doctor says %v", codes)
			}
			test.damage(s)
			s.refuses(test.code, "RECEIPTS_0")
			if codes := s.doctor(1); len(codes) == 0 || codes[0] != test.code {
				t.Errorf("the doctor says %v, want %s", codes, test.code)
			}
			if got := run(t, "receiptctl", nil, "repair", "--data", s.data); got.code != 1 || !strings.Contains(got.out, test.code) {
				t.Errorf("repair that does nothing: %v", got)
			}
			s.refuses(test.code)
			if got := run(t, "receiptctl", nil, "repair", "--data", s.data, "--accept-loss"); got.code != 0 {
				t.Fatalf("repair: %v", got)
			}
			s.doctor(0)
			s.start()
			there := 0
			for i := range messages {
				if s.found(fmt.Sprint("m", i)) {
					there++
				}
			}
			lost := messages - there
			if test.lost >= 0 && lost != test.lost && lost != 0 || test.lost < 0 && (lost == 0 || lost == messages) {
				t.Errorf("%d of %d messages are lost", lost, messages)
			}
			if test.lost != messages {
				s.chat("after", messages, messages+10)
				s.verify()
			}
		})
	}
}

// TestDamagedAccountsAreNoReasonToRegisterAgain: users with passwords lie in the log's server too.
func TestDamagedAccountsAreNoReasonToRegisterAgain(t *testing.T) {
	s := startServer(t)
	s.must("PUT", appPath(chatApp), map[string]any{"open_registration": true}, nil)
	if _, err := s.do("POST", "/o/chat/users", "application/json", []byte(`{"username":"user1","password":"secret1"}`)); err != nil {
		t.Fatal(err)
	}
	s.attested(`"KV_receiptd_accounts","created":"[^"]+","last":[1-9]`)
	s.kill()
	list, err := filepath.Glob(filepath.Join(s.streamDir("KV_receiptd_accounts"), "msgs", "*.blk"))
	if err != nil || len(list) == 0 {
		t.Fatalf("blocks: %v, %v", list, err)
	}
	s.flip(list[0])
	s.refuses("KV_receiptd_accounts", list[0])
	s.flip(list[0])
	away := s.streamDir("KV_receiptd_accounts") + "-away"
	if err := os.Rename(s.streamDir("KV_receiptd_accounts"), filepath.Join(t.TempDir(), filepath.Base(away))); err != nil {
		t.Fatal(err)
	}
	s.refuses("stream_missing", "KV_receiptd_accounts")
}

// TestCorruptStateHealsByItself flips a bit in every table of the state, below a log that is whole.
func TestCorruptStateHealsByItself(t *testing.T) {
	s := startServer(t, "--partitions=2")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	s.chat("first", 0, 120)
	want := s.answers(120)
	s.stop()
	tables, err := filepath.Glob(filepath.Join(s.data, "state", "p*", "0*", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %v, %v", tables, err)
	}
	for _, table := range tables {
		s.flip(table)
	}
	if codes := s.doctor(0); len(codes) > 0 { // it is disposable
		t.Errorf("the doctor says %v", codes)
	}
	// The first question that meets the damage may end the process, never with a wrong answer or a
	// panic; the start after that heals.
	healed := false
	for range 5 {
		if s.launch() == nil && s.answersAll(120) {
			healed = true
			break
		}
		s.kill()
	}
	if !healed {
		t.Fatal("five starts did not heal it")
	}
	same(s, "answers", s.answers(120), want)
	if strings.Contains(s.log(), "panic") {
		t.Error("it panicked")
	}
	s.verify()
}

// answersAll waits until the server is ready, asks for every message, and reports whether it found
// them all; false if the process ends meanwhile.
func (s *server) answersAll(messages int) bool {
	for s.call("GET", "/readyz", nil, nil) != nil {
		if !s.process.running() {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	for i := range messages {
		if s.call("GET", messagePath(chatApp, fmt.Sprint("m", i)), nil, new(message)) != nil {
			return false
		}
	}
	return s.process.running()
}
