package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/output"
)

// patience bounds every step that takes a moment on an idle machine; it is for a machine with much
// else to do.
const patience = 2 * time.Minute

// environ is the environment of the programs: that of the test, without settings of ours.
func environ(more ...string) []string {
	ours := func(s string) bool { return strings.HasPrefix(s, "RECEIPTD_") }
	return append(slices.DeleteFunc(os.Environ(), ours), more...)
}

// process is a running program.
type process struct {
	cmd         *exec.Cmd
	out, err    output.Buffer
	exited      chan struct{} // closed when it has exited
	description string
}

// start starts a program; name is that of one of ours or a path.
func start(name string, args, env []string) (*process, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(programs, name)
	}
	p := &process{cmd: exec.Command(name, args...), exited: make(chan struct{}), description: filepath.Base(name) + " " + strings.Join(args, " ")}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the exit code says it
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // fails for a process that is gone already
}

// wait waits for the exit and returns the exit code, -1 for a process that a signal ended.
func (p *process) wait() (code int, err error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		p.signal(syscall.SIGQUIT) // shows where it hangs
		<-p.exited
		return 0, fmt.Errorf("%s did not exit within %s\n%s", p.description, patience, p.err.String())
	}
}

// result is what a program that ran to its end left behind.
type result struct {
	code     int
	out, err string
}

func (r result) String() string { return fmt.Sprintf("exit %d\n%s%s", r.code, r.out, r.err) }

// run runs one of the programs to its end.
func run(t testing.TB, name string, env []string, args ...string) result {
	t.Helper()
	p, err := start(name, args, environ(env...))
	if err != nil {
		t.Fatal(err)
	}
	code, err := p.wait()
	if err != nil {
		t.Fatal(err)
	}
	return result{code, p.out.String(), p.err.String()}
}

// server is a receiptd that may be stopped and started again on the same data.
type server struct {
	t    testing.TB
	data string
	args []string // besides --data and --listen
	// wrapper is a command that executes the server, which follows with its arguments.
	wrapper []string
	// nodes are those that the server stands for, if it is several processes; see startNodes.
	nodes []*server
	turn  atomic.Uint64
	seen  seen

	mu   sync.Mutex
	base string // http://host:port; another one after each start
	key  string

	process *process
	logs    strings.Builder // of the processes that are gone
}

// newServer returns a server with fresh data, not started yet. It is killed at the end of the test.
func newServer(t testing.TB, args ...string) *server {
	return newServerAt(t, filepath.Join(t.TempDir(), "data"), args...)
}

func newServerAt(t testing.TB, data string, args ...string) *server {
	s := &server{t: t, data: data, args: args}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("receiptd's log:\n%s", s.log())
		}
	})
	return s
}

// startServer returns a server with fresh data that is ready.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := newServer(t, args...)
	s.start()
	return s
}

// start starts the server and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	if err := s.launch(); err != nil {
		s.t.Fatal(err)
	}
	s.ready()
}

var announced = regexp.MustCompile(`page +(http://\S+)/\n`)

// launch starts the process and waits for its address.
func (s *server) launch() error {
	name, args := "receiptd", append([]string{"--data", s.data, "--listen=127.0.0.1:0"}, s.args...)
	if len(s.wrapper) > 0 {
		args = slices.Concat(s.wrapper[1:], []string{filepath.Join(programs, name)}, args)
		name = s.wrapper[0]
	}
	p, err := start(name, args, environ())
	if err != nil {
		return err
	}
	s.process = p
	base, err := poll(func() (string, error) {
		if found := announced.FindStringSubmatch(p.out.String()); found != nil {
			return found[1], nil
		}
		if !p.running() {
			return "", permanent{fmt.Errorf("receiptd ended with exit code %d: %s", p.cmd.ProcessState.ExitCode(), p.err.String())}
		}
		return "", errors.New("receiptd has not said its address")
	})
	if err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(s.data, "admin.key"))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base, s.key = base, strings.TrimSpace(string(key))
	return nil
}

// ready waits until the server answers questions; whether it takes events is another matter.
func (s *server) ready() {
	s.t.Helper()
	_, err := poll(func() (struct{}, error) { return struct{}{}, s.call("GET", "/readyz?for=reads", nil, nil) })
	if err != nil {
		s.t.Fatalf("not ready: %v", err)
	}
}

// each is the server, or the nodes that it stands for.
func (s *server) each() []*server {
	if len(s.nodes) > 0 {
		return s.nodes
	}
	return []*server{s}
}

// address is where the server listens now, and its admin key; of several nodes those of the next.
func (s *server) address() (base, key string) {
	if n := uint64(len(s.nodes)); n > 0 {
		return s.nodes[s.turn.Add(1)%n].address()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base, s.key
}

// kill ends the process as kill -9 does.
func (s *server) kill() {
	if s.process == nil {
		return
	}
	s.process.signal(syscall.SIGKILL)
	<-s.process.exited
	s.gone()
}

// stop drains the server, which must end well.
func (s *server) stop() {
	s.t.Helper()
	s.process.signal(syscall.SIGTERM)
	if code, err := s.exit(); err != nil || code != 0 {
		s.t.Fatalf("stopped with exit code %d, %v", code, err)
	}
}

// exit waits for the process to end by itself or after a signal.
func (s *server) exit() (code int, err error) {
	code, err = s.process.wait()
	s.gone()
	return code, err
}

func (s *server) gone() {
	s.logs.WriteString(s.process.err.String())
	s.process = nil
}

// log is what the server's processes have logged.
func (s *server) log() string {
	text := s.logs.String()
	if s.process != nil {
		text += s.process.err.String()
	}
	const most = 64 << 10
	return text[max(0, len(text)-most):]
}

// ctl runs receiptctl on the running server.
func (s *server) ctl(args ...string) result {
	s.t.Helper()
	return run(s.t, "receiptctl", nil, s.target(args)...)
}

// target adds the running server to the arguments of receiptctl.
func (s *server) target(args []string) []string {
	base, key := s.address()
	return append(slices.Clone(args), "--server="+base, "--admin-key="+key)
}

// permanent is an error that retrying does not cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// poll retries until something succeeds. It is for what other processes do without telling.
func poll[T any](try func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		v, err := try()
		if err == nil || errors.As(err, new(permanent)) || ctx.Err() != nil {
			return v, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// eventually waits until something holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	_, err := poll(func() (struct{}, error) {
		if !holds() {
			return struct{}{}, errors.New("not yet")
		}
		return struct{}{}, nil
	})
	if err != nil {
		t.Fatalf("it never came to be that %s", what)
	}
}
