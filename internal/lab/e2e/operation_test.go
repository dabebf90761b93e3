package e2e

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

func TestSecondInstanceIsRefused(t *testing.T) {
	s := startServer(t)
	r := run(t, "receiptd", nil, "--data", s.data, "--listen=127.0.0.1:0")
	if r.code != 1 || !strings.Contains(r.err, "in use by another receiptd") || !strings.Contains(r.err, s.data) {
		t.Errorf("a second instance: %v", r)
	}
	s.must("PUT", "/v1/apps/o/a", struct{}{}, nil) // the first goes on
	s.stop()
	s.start()
}

// TestSIGTERMDrains stops the server under load, with streams and a tail open, which never end by
// themselves.
func TestSIGTERMDrains(t *testing.T) {
	r := random(t)
	const cutOff = 90 * time.Second
	s := startServer(t, "--shutdown-timeout="+cutOff.String())
	l := newLoad(s, r.Uint64(), 4)
	l.start()
	for range 3 {
		stream := s.stream(l.app, "somebody")
		tail, err := start("receiptctl", s.target([]string{"tail", "--from=start"}), environ())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(200+r.IntN(300)) * time.Millisecond)
		eventually(t, "the tail is connected", func() bool { return tail.out.String() != "" })
		asked := time.Now()
		s.stop()                                        // exit code 0
		if took := time.Since(asked); took > cutOff/2 { // it was not waited for what never ends
			t.Errorf("stopping took %s", took)
		}
		if reason := stream.last(t, "closing"); !strings.Contains(reason, "shutdown") {
			t.Errorf("the stream ended with %q", reason)
		}
		tail.signal(syscall.SIGTERM)
		if code, err := tail.wait(); err != nil || code != 0 {
			t.Errorf("tail: exit %d, %v, %s", code, err, tail.err.String())
		}
		answered := l.sample(100)
		s.start()
		l.atLeast(answered)
	}
	l.finish()
	l.exact()
	s.verify()
	if strings.Contains(s.log(), "level=ERROR") || strings.Contains(s.log(), "cut off") {
		t.Errorf("draining failed: %s", s.log())
	}
}

// stream is an open stream of Server-Sent Events.
type stream struct {
	answer *http.Response
	lines  *bufio.Reader
}

func (s *server) stream(app, user string) *stream {
	s.t.Helper()
	base, key := s.address()
	r, err := http.NewRequest(http.MethodGet, base+appPath(app)+"/users/"+user+"/stream", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("stream: %s", answer.Status)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	return &stream{answer, bufio.NewReader(answer.Body)}
}

// next returns the name and data of the next event.
func (s *stream) next() (name, data string, err error) {
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		line = strings.TrimSuffix(line, "\n")
		switch field, value, _ := strings.Cut(line, ": "); field {
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if name != "" {
				return name, data, nil
			}
		}
	}
}

// last reads to the end and returns the data of the last event, which has to have the name.
func (s *stream) last(t *testing.T, want string) (data string) {
	t.Helper()
	last := ""
	for {
		name, d, err := s.next()
		if err != nil {
			break
		}
		last, data = name, d
	}
	if last != want {
		t.Errorf("the last event is %q, want %q", last, want)
	}
	return data
}

func TestConfigurationMistakesAreRefused(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	file := filepath.Join(t.TempDir(), "receiptd.yaml")
	for name, test := range map[string]struct {
		args, env []string
		file      string
		want      string
	}{
		"unknown flag":     {args: []string{"--colour=red"}, want: "unknown flag --colour"},
		"unknown variable": {env: []string{"RECEIPTD_COLOUR=red"}, want: "RECEIPTD_COLOUR"},
		"unknown key":      {file: "colour: red\n", want: "colour"},
		"bad value":        {file: "fsync: sometimes\n", want: "sometimes"},
		"no such file":     {args: []string{"--config", file + ".gone"}, want: "receiptd.yaml.gone"},
		"no password":      {args: []string{"--nats-listen=127.0.0.1:0"}, want: "--nats-password"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--data", data, "--listen=127.0.0.1:0"}, test.args...)
			if test.file != "" {
				if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", file)
			}
			if r := run(t, "receiptd", test.env, args...); r.code != 2 || !strings.Contains(r.err, test.want) || r.out != "" {
				t.Errorf("%v", r)
			}
			if _, err := os.Stat(data); err == nil {
				t.Error("something was started")
			}
		})
	}
}

func TestConfigurationFileIsUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "receiptd.yaml")
	if err := os.WriteFile(file, []byte("partitions: 3\nlog-format: json\nlog-level: debug\nmax-events-per-request: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(t, "--config", file)
	s.start()
	var status struct{ Partitions []struct{ Partition int } }
	s.must("GET", "/v1/status", nil, &status)
	if len(status.Partitions) != 3 {
		t.Errorf("%d partitions", len(status.Partitions))
	}
	s.must("PUT", "/v1/apps/o/a", struct{}{}, nil)
	six := make([]events.Event, 6)
	for i := range six {
		six[i] = events.Event{Kind: events.MessageSent, Message: "m", User: "u", Peer: "v"}
	}
	_, err := s.do("POST", "/v1/apps/o/a/events", ndjson, lines(six))
	if r, ok := err.(*refusal); !ok || r.status != http.StatusRequestEntityTooLarge {
		t.Errorf("six events: %v", err)
	}
	if !strings.Contains(s.log(), `"level":"DEBUG"`) {
		t.Errorf("the log is not JSON: %s", s.log())
	}
	s.stop()

	// The number of partitions stays.
	s.args = []string{"--partitions=4"}
	if err := s.launch(); err == nil || !strings.Contains(err.Error(), "exit code 1") || !strings.Contains(err.Error(), "partitions") {
		t.Errorf("started with another number of partitions: %v", err)
	}
	s.args = nil
	s.start()
}
