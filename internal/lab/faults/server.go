package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/chserver"
)

// server is a receiptd that is started and ended again and again on the same data.
type server struct {
	programs, data string
	args           []string
	// wrapper is a command that executes the server, which follows with its arguments.
	wrapper []string
	env     []string
	// sink is the ClickHouse that it fills; nil for none.
	sink *chserver.Process

	process   child.Process
	cmd       *exec.Cmd // nil unless it was started
	log       string    // file of what the last process wrote
	starts    int
	base, key string
}

// partitions is how many the log has.
const partitions = 2

// newServer returns a server on a directory of the trial.
func (t *trial) newServer(data string, args ...string) *server {
	return &server{programs: t.programs, data: data, args: args, log: filepath.Join(t.dir, "receiptd.log")}
}

var (
	announced = regexp.MustCompile(`page +(http://\S+)/\n`)

	// errEnded: the process ended before it was ready, or while it was asked.
	errEnded = errors.New("the server ended")
	errLate  = errors.New("the server is not ready in time")
)

// start starts the server and waits until it is ready. The error is errEnded with what it said if
// it ended instead.
func (s *server) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.ready(ctx, time.Minute)
}

func (s *server) launch() error {
	s.starts++
	line := slices.Concat(s.wrapper, []string{filepath.Join(s.programs, "receiptd"), "--data", s.data, "--listen=127.0.0.1:0", fmt.Sprint("--partitions=", partitions)}, s.args)
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Env = append(os.Environ(), s.env...)
	// A group of its own, so that a wrapper's child ends with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.base = ""
	return s.process.Start(s.cmd, s.log)
}

// ready waits until the server takes requests.
func (s *server) ready(ctx context.Context, within time.Duration) error {
	deadline := time.Now().Add(within)
	for {
		if s.base == "" {
			if found := announced.FindStringSubmatch(s.said()); found != nil {
				key, err := os.ReadFile(filepath.Join(s.data, "admin.key"))
				if err != nil {
					return err
				}
				s.base, s.key = found[1], strings.TrimSpace(string(key))
			}
		} else if _, err := s.ask(ctx, "GET", "/readyz?for=reads", nil); err == nil {
			return nil
		}
		select {
		case <-s.process.Exited():
			return fmt.Errorf("%w: %s", errEnded, s.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s", errLate, s.lastWords())
		}
	}
}

func (s *server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.process.Exited():
		return false
	default:
		return true
	}
}

// said is what the last process wrote.
func (s *server) said() string {
	text, _ := os.ReadFile(s.log) // nothing, before it wrote
	return string(text)
}

func (s *server) lastWords() string {
	text := strings.TrimSpace(s.said())
	return text[max(0, len(text)-1500):]
}

// end ends the server, and what wraps it, by a signal; it is killed if that does not help.
func (s *server) end(signal syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	group := s.cmd.Process.Pid
	if signal == syscall.SIGKILL || len(s.wrapper) > 0 {
		_ = syscall.Kill(-group, signal) // it may have ended
	}
	err := s.process.Stop(signal)
	_ = syscall.Kill(-group, syscall.SIGKILL) // what is left of the wrapper's
	s.cmd = nil
	return err
}

func (s *server) kill() error { return s.end(syscall.SIGKILL) }
func (s *server) stop() error { return s.end(syscall.SIGTERM) }

// panicked says how a process must not end.
func (s *server) panicked() error {
	text := s.said()
	for _, word := range []string{"panic:", "goroutine ", "fatal error:", "SIGSEGV", "SIGBUS"} {
		if i := strings.Index(text, word); i >= 0 {
			return fmt.Errorf("it panicked: %s", text[i:min(len(text), i+1500)])
		}
	}
	return nil
}

// statusError is an answer other than 200.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}, Timeout: 30 * time.Second,
}

// ask sends a request with the admin key and returns the answer, which must be 200.
func (s *server) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return s.askAs(ctx, s.key, method, path, body)
}

func (s *server) askAs(ctx context.Context, key, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	if bytes.IndexByte(body, '\n') >= 0 {
		request.Header.Set("Content-Type", "application/x-ndjson")
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = &statusError{answer.StatusCode, string(text)}
	}
	return text, err
}

// call sends and receives JSON.
func (s *server) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	text, err := s.ask(ctx, method, path, body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// ctl runs receiptctl and returns what it wrote to standard output, and its exit code.
func (s *server) ctl(ctx context.Context, args ...string) (out string, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "receiptctl"), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && ctx.Err() == nil {
		code, err = exit.ExitCode(), nil
	}
	if text := stderr.String(); strings.Contains(text, "panic:") || strings.Contains(text, "goroutine ") {
		err = fmt.Errorf("receiptctl %s panicked: %s", args[0], text)
	}
	return stdout.String() + stderr.String(), code, err
}

// verify has the running server compare its state with its log.
func (s *server) verify(ctx context.Context) error {
	out, code, err := s.ctl(ctx, "verify", "--json", "--server="+s.base, "--admin-key="+s.key)
	if err == nil && code != 0 {
		err = fmt.Errorf("verify: exit %d: %s", code, out)
	}
	return err
}

// caughtUp waits until everything in the log is folded.
func (s *server) caughtUp(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var status struct {
			Partitions []struct{ Stored, Applied uint64 }
		}
		if err := s.call(ctx, "GET", "/v1/status", nil, &status); err != nil {
			return err
		}
		behind := false
		for _, p := range status.Partitions {
			behind = behind || p.Applied < p.Stored
		}
		if !behind {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the fold does not reach the log's end")
		}
	}
}
