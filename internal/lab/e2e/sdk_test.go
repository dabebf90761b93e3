package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sdkScript is a scenario of the SDK in Node: sdk/NAME.test.mjs, and the builds of the SDK that run
// it.
type sdkScript struct {
	name   string
	builds []string
	// events are the kinds that the log must have got from it.
	events []string
	// args are further ones of the server.
	args []string
}

var sdkScripts = []sdkScript{
	{"document", []string{"main", "mini", "agora"}, []string{
		"app.configured", "group.created", "message.sent", "message.delivered", "message.read", "conversation.read", "statistic.seen"}, nil},
	{"devices", []string{"main", "mini"}, []string{"message.sent", "message.delivered", "message.read", "conversation.read", "user.configured"}, nil},
	{"rules", []string{"main"}, []string{"message.sent", "message.read", "message.recalled"}, nil},
	{"offline", []string{"main"}, []string{"message.sent", "message.read", "statistic.seen"}, nil},
	{"conversation", []string{"main", "agora"}, []string{"message.sent", "conversation.read"}, nil},
	{"backend", []string{"main"}, []string{"message.sent", "message.read"}, nil},
	{"forged", []string{"main", "agora"}, []string{"message.sent", "message.delivered"}, nil},
	{"frames", []string{"main"}, []string{"message.sent", "message.read", "message.recalled"},
		[]string{"--sends-per-second=1000000", "--frames-per-second=1000000"}},
	{"restart", []string{"main", "mini"}, []string{"message.sent", "message.read"}, nil},
	{"kill", []string{"main"}, []string{"message.sent", "message.read"}, nil},
}

// TestSDK runs the unmodified npm packages against the real server: every scenario with a server of
// its own. What they did is in the log, and a replay comes to the same state.
func TestSDK(t *testing.T) {
	npmInstalled(t, "sdk", "easemob-websdk")
	for _, script := range sdkScripts {
		for _, build := range script.builds {
			t.Run(script.name+"/"+build, func(t *testing.T) {
				t.Parallel()
				// The address is the same after a restart.
				script.run(startServer(t, append(script.args, "--listen="+freeAddress(t))...), build)
			})
		}
	}
}

// run runs a scenario against a server or several nodes.
func (c *sdkScript) run(s *server, build string) {
	s.t.Helper()
	s.t.Logf("%s", s.node("sdk", c.name+".test.mjs", "SDK_BUILD="+build, "RECEIPTD_CONTROL="+s.remote()))
	for i, v := range s.alike() {
		s.each()[i].tells(v, c.events)
	}
}

// alike has the server, or each of several nodes, fold all that is there and prove its state, which
// must be the same everywhere. What clients have seen is written a little after they leave, so that
// states are only compared where all are of the same entries.
func (s *server) alike() (all []verdict) {
	s.t.Helper()
	eventually(s.t, "all have folded the same entries", func() bool {
		for _, n := range s.each() {
			caughtUp(s.t, n)
		}
		all = nil
		for _, n := range s.each() {
			all = append(all, n.verify())
			for k, p := range all[len(all)-1].Partitions {
				if p.Position != all[0].Partitions[k].Position {
					return false
				}
			}
		}
		return true
	})
	for i, v := range all {
		if !reflect.DeepEqual(v.Partitions, all[0].Partitions) {
			s.t.Errorf("node %d has %+v, and node 0 %+v", i, v.Partitions, all[0].Partitions)
		}
	}
	return all
}

// npmInstalled fails the test unless what package.json in a directory lists is installed: a test
// that is left out proves nothing.
func npmInstalled(t testing.TB, dir, module string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "node_modules", module)); err != nil {
		t.Fatalf("%v; npm ci --prefix internal/lab/e2e/%s installs it", err, dir)
	}
}

// scriptTime bounds a script, frameTime what each of the frames adds that FRAMES asks for.
const (
	scriptTime = 4 * time.Minute
	frameTime  = 10 * time.Millisecond
)

// node runs a script of a directory with Node's test runner, which must succeed, and returns what
// it printed.
func (s *server) node(dir, script string, env ...string) string {
	s.t.Helper()
	var urls []string
	var key string
	for _, n := range s.each() {
		var base string
		base, key = n.address()
		urls = append(urls, base)
	}
	cmd := exec.Command("node", "--test", "--test-force-exit", "--test-reporter=spec", script)
	cmd.Dir = dir
	// A test that is run by Node's test runner must not take part in Go's.
	cmd.Env = append(environ(), append(env, "RECEIPTD_URL="+strings.Join(urls, ","), "RECEIPTD_KEY="+key)...)
	frames, _ := strconv.Atoi(os.Getenv("FRAMES"))
	timer := time.AfterFunc(scriptTime+time.Duration(frames)*frameTime, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s%s", script, err, out, s.connectionsEnded())
	}
	return string(out)
}

// connectionsEnded is why SDK connections have ended and were refused, by the server's metrics: of
// a client that was cut off, Node's output says only that.
func (s *server) connectionsEnded() string {
	var ended strings.Builder
	for _, n := range s.each() {
		text, err := n.do("GET", "/metrics", "", nil)
		if err != nil {
			return err.Error()
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "receiptd_sdk_closed_total") || strings.HasPrefix(line, "receiptd_sdk_refused_total") ||
				strings.HasPrefix(line, "receiptd_connections_") {
				ended.WriteString(line)
			}
		}
	}
	return ended.String()
}

// remote serves what a script cannot do itself: POST /restart?signal=TERM|KILL ends the server that
// way and starts it again; of several nodes, the next one, until all are ready. It returns the URL.
func (s *server) remote() string {
	mux := http.NewServeMux()
	turn := 0
	mux.HandleFunc("POST /restart", func(w http.ResponseWriter, r *http.Request) {
		all := s.each()
		err := all[turn%len(all)].comeBack(r.FormValue("signal"))
		turn++
		for _, n := range all {
			if err == nil {
				err = n.well()
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	h := httptest.NewServer(mux)
	s.t.Cleanup(h.Close)
	return h.URL
}

// comeBack ends a process by a signal and starts it again.
func (s *server) comeBack(name string) error {
	if name == "KILL" {
		s.kill()
	} else {
		s.process.signal(syscall.SIGTERM)
		if code, err := s.exit(); err != nil || code != 0 {
			return fmt.Errorf("stopped with exit code %d, %w", code, err)
		}
	}
	return s.launch()
}

// well waits until a process is ready for everything.
func (s *server) well() error {
	_, err := poll(func() (struct{}, error) { return struct{}{}, s.call("GET", "/readyz", nil, nil) })
	return err
}

// tells checks that receiptctl tail shows as many events as verify has folded, and of each kind at
// least one.
func (s *server) tells(v verdict, kinds []string) {
	s.t.Helper()
	got := s.ctl("tail", "--from=start", "--count="+strconv.FormatUint(v.Events, 10))
	if got.code != 0 {
		s.t.Fatalf("tail: %v", got)
	}
	seen := map[string]int{}
	for line := range strings.Lines(got.out) {
		var l tailLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			s.t.Fatalf("tail: %q: %v", line, err)
		}
		seen[l.Type]++
	}
	for _, kind := range kinds {
		if seen[kind] == 0 {
			s.t.Errorf("tail shows no %s: %v", kind, seen)
		}
	}
}
