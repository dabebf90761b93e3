package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func TestHelpTexts(t *testing.T) {
	for _, test := range []struct {
		program string
		args    []string
		want    []string
	}{
		{"receiptd", nil, []string{"--data", "--listen", "--nats", "--fsync", "--partitions", "--admin-key", "serve", "config", "version"}},
		{"receiptctl", nil, []string{"replay", "verify", "tail", "bench", "--server", "--admin-key", "--data"}},
		{"receiptctl", []string{"demo"}, []string{"For example: receiptctl demo", "--apps", "--messages", "--for", "--rate", "--seed", "--into-existing"}},
		{"receiptctl", []string{"app"}, []string{"app list", "app show", "app configure", "For example: receiptctl app"}},
		{"receiptctl", []string{"app", "configure"}, []string{"--app", "<settings>", "For example: receiptctl app configure"}},
		{"receiptctl", []string{"token"}, []string{"--ttl", "For example: receiptctl token"}},
		{"receiptctl", []string{"event"}, []string{"<fields>", "For example: receiptctl event message.read", "group.dissolved", "Exits with 0"}},
		{"receiptctl", []string{"message", "show"}, []string{"--group", "--users", "For example: receiptctl message show"}},
		{"receiptctl", []string{"message", "list"}, []string{"<group>", "--limit", "For example: receiptctl message list"}},
		{"receiptctl", []string{"readers"}, []string{"--limit", "For example: receiptctl readers"}},
		{"receiptctl", []string{"stats"}, []string{"--group-by", "--since", "--until", "For example: receiptctl stats"}},
		{"receiptctl", []string{"replay"}, []string{"--projection", "--from", "--json", "Nobody is notified"}},
		{"receiptctl", []string{"verify"}, []string{"--json", "Exits with 0 if the states are equal and the log is whole, and with 1 if not"}},
		{"receiptctl", []string{"tail"}, []string{"--app", "--from", "--cursor", "--count"}},
		{"receiptctl", []string{"bench"}, []string{"bench all", "bench curve", "bench grow", "The default."}},
		{"receiptctl", []string{"bench", "all"}, []string{"--duration", "--groups", "--members", "--duplicates", "--fsync", "--json"}},
		{"receiptctl", []string{"bench", "curve"}, []string{"--svg", "--points", "--duration", "--groups", "--fsync", "--json"}},
		{"receiptctl", []string{"bench", "clickhouse"}, []string{"--events", "--rounds", "--rows", "--days", "--queries"}},
		{"receiptctl", []string{"bench", "overload"}, []string{"--connections", "--batch", "--tenants", "--impatient", "--duration", "--json"}},
		{"receiptctl", []string{"bench", "grow"}, []string{"--receipts", "--first", "--rate", "--runs", "--groups", "--json"}},
	} {
		got := run(t, test.program, nil, append(test.args, "--help")...)
		if got.code != 0 || got.err != "" {
			t.Errorf("%s %v: %v", test.program, test.args, got)
		}
		for _, word := range test.want {
			if !strings.Contains(strings.Join(strings.Fields(got.out), " "), word) {
				t.Errorf("%s %v --help does not say %q:\n%s", test.program, test.args, word, got.out)
			}
		}
	}
}

// TestReplayUnderTraffic replays again and again while clients go on: everything at once and each
// projection by itself. Every count is right afterwards.
func TestReplayUnderTraffic(t *testing.T) {
	s := startServer(t)
	l := newLoad(s, random(t).Uint64(), 4)
	l.start()
	for _, projection := range []string{"all", "readset", "unread", "statistic", "rejections", "rollup", "all"} {
		time.Sleep(100 * time.Millisecond)
		before := l.accepted()
		if v := equal(t, s.ctl("replay", "--json", "--projection="+projection)); !v.Switched {
			t.Errorf("%s: not switched", projection)
		}
		s.oneGeneration()
		eventually(t, "the load goes on", func() bool { return l.accepted() > before })
	}
	l.finish()
	l.exact()
	s.verify()
	s.kill()
	s.start()
	l.exact()
	s.verify()
	if got := s.ctl("replay", "--projection=everything"); got.code != 1 || !strings.Contains(got.err, "readset") {
		t.Errorf("an unknown projection: %v", got)
	}
}

// TestToolOnRunningAndStoppedServer asks the same of both.
func TestToolOnRunningAndStoppedServer(t *testing.T) {
	s := startServer(t)
	l := newLoad(s, random(t).Uint64(), 2)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 20_000 })
	l.finish()
	caughtUp(t, s)
	running := s.verify()
	if got := s.ctl("verify"); got.code != 0 || !strings.Contains(got.out, "equal") {
		t.Errorf("verify: %v", got)
	}
	first := s.ctl("tail", "--from=start", "--count=1", "--app="+strings.Replace(l.app, "#", "/", 1))
	var line tailLine
	if err := json.Unmarshal([]byte(first.out), &line); err != nil || first.code != 0 || line.App != l.app || line.Type != "app.configured" {
		t.Errorf("tail: %v, %v", err, first)
	}
	s.stop()

	stopped := equal(t, run(t, "receiptctl", nil, "verify", "--json", "--data", s.data))
	if stopped.Events != running.Events || stopped.Partitions[0].Live != running.Partitions[0].Live {
		t.Errorf("stopped: %+v, running: %+v", stopped, running)
	}
	if v := equal(t, run(t, "receiptctl", nil, "replay", "--json", "--data", s.data)); !v.Switched {
		t.Error("replay did not switch")
	}
	s.oneGeneration()
	got := run(t, "receiptctl", nil, "tail", "--data", s.data, "--server", "http://127.0.0.1:1")
	if got.code != 1 || !strings.Contains(got.err, "no answer from http://127.0.0.1:1") {
		t.Errorf("tail of a stopped server: %v", got)
	}
	s.start()
	l.exact()
	s.verify()
}

// TestKilledDataIsVerifiedToItsEnd kills the server under load. Its state is older than its log
// then; verify compares all that was answered, not what the state happened to have, and leaves data
// on which the server goes on.
func TestKilledDataIsVerifiedToItsEnd(t *testing.T) {
	s := startServer(t, "--checkpoint-interval=1h")
	l := newLoad(s, random(t).Uint64(), 4)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 20_000 })
	s.kill()
	answered := l.accepted()
	for n, command := range []string{"verify", "verify", "replay"} {
		v := equal(t, run(t, "receiptctl", nil, command, "--json", "--data", s.data))
		if v.Events < uint64(answered) {
			t.Errorf("%s: %d events are compared, %d were answered", command, v.Events, answered)
		}
		if first := n == 0; first != (v.CaughtUp > 0) {
			t.Errorf("%s, the %dth time: %d events were folded first", command, n+1, v.CaughtUp)
		}
	}
	s.start()
	l.finish()
	l.exact()
}

func TestToolOnDataItCannotWorkOn(t *testing.T) {
	refused := func(name, data, want string) {
		t.Helper()
		if got := run(t, "receiptctl", nil, "verify", "--data", data); got.code != 1 || got.out != "" || !strings.Contains(got.err, want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	missing := filepath.Join(t.TempDir(), "data")
	refused("no data", missing, "holds no log")
	if _, err := os.Stat(missing); err == nil {
		t.Error("it made a data directory")
	}
	s := startServer(t)
	// This is not the server that the tool looks for by default.
	refused("a running server's data", s.data, "--server says where it listens")
	s.verify()

	outside := newServer(t, "--nats="+natstest.StartServer(t).URL(), "--partitions=1")
	outside.start()
	outside.must("PUT", appPath(chatApp), struct{}{}, nil)
	outside.chat("x", 0, 10)
	want := outside.answers(10)
	outside.stop()
	refused("the log is elsewhere", outside.data, "holds no log")
	outside.startQuietly()
	same(outside, "answers", outside.answers(10), want)
}

// TestVerifyFindsAChangedValue gives a message of the stopped server's state the value of another
// one. Verify names it, on the stopped server and on the running one, and a replay repairs it.
func TestVerifyFindsAChangedValue(t *testing.T) {
	for _, projection := range []string{"all", "readset"} {
		t.Run(projection, func(t *testing.T) {
			s := startServer(t, "--partitions=1")
			s.must("PUT", appPath(chatApp), struct{}{}, nil)
			s.chat("x", 0, 30)
			want := s.answers(30)
			s.stop()
			s.swap("m", "m17", "m20")

			got := run(t, "receiptctl", nil, "verify", "--json", "--data", s.data)
			s.different(got, "m17")
			got = run(t, "receiptctl", nil, "verify", "--data", s.data)
			if got.code != 1 || !strings.Contains(got.out, "DIFFERENT") || !strings.Contains(got.out, "m17") {
				t.Errorf("verify: %v", got)
			}
			s.start()
			s.different(s.ctl("verify", "--json"), "m17")
			if got := s.ctl("replay", "--projection="+projection); got.code != 0 || !strings.Contains(got.out, "DIFFERENT; the rebuilt state is the live one now") {
				t.Errorf("replay: %v", got)
			}
			s.verify()
			same(s, "answers", s.answers(30), want)
			s.kill()
			s.start()
			s.verify()
			same(s, "answers after kill -9", s.answers(30), want)
		})
	}
}

// different checks that verify found a difference and names the message.
func (s *server) different(got result, id string) {
	s.t.Helper()
	var v verdict
	if err := json.Unmarshal([]byte(got.out), &v); err != nil || got.code != 1 || v.Equal || len(v.Partitions) != 1 {
		s.t.Fatalf("verify: %v, %v", err, got)
	}
	d := v.Partitions[0].Difference
	if d == nil || d.What != "value" || !strings.Contains(d.Key, "message") || !strings.Contains(d.Key, id) {
		s.t.Errorf("difference %+v, want message %s", d, id)
	}
}
