package chtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/chtest/engine"
)

// startMax bounds the start of the engine on a busy machine.
const startMax = 2 * time.Minute

// Server is a ClickHouse process. It ends with the test, or with the test's process.
type Server struct {
	t       testing.TB
	dir     string
	address string // host:port; the same after each start

	cmd   *exec.Cmd
	stdin io.Closer
	log   *os.File
}

// Start starts a ClickHouse with an empty data directory. A test that cannot have one fails.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, dir: filepath.Join(t.TempDir(), "clickhouse"), address: "127.0.0.1:0"}
	t.Cleanup(s.Kill)
	s.Restart()
	return s
}

var program struct {
	once sync.Once
	path string
	err  error
}

// build builds the program of the engine, once in a test process; the go command caches it.
func build(ctx context.Context) (string, error) {
	program.once.Do(func() {
		if _, program.err = Library(ctx); program.err != nil {
			return
		}
		dir, err := os.MkdirTemp("", "chtest-")
		if err != nil {
			program.err = err
			return
		}
		program.path = filepath.Join(dir, "clickhouse")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", program.path, "github.com/receiptd/receiptd/internal/chtest/cmd/clickhouse")
		if out, err := cmd.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build the engine's program: %w\n%s", err, out)
		}
	})
	return program.path, program.err
}

// Restart starts the process again, on the same data and at the same address. It must not be running.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("start ClickHouse: %v", err)
	}
}

func (s *Server) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	path, err := build(ctx)
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "serve", "--data", s.dir, "--listen", s.address, "--stdin")
	if cmd.Stderr = os.Stderr; s.log != nil {
		cmd.Stderr = s.log
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.stdin = cmd, stdin
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("it said no address: %w", err), cmd.Wait())
	}
	_, s.address, _ = strings.Cut(strings.TrimSpace(line), "http://")
	return nil
}

// DSN is what receiptd and clickhouse-go take to connect to a database of the server.
func (s *Server) DSN(database string) string { return "http://" + s.address + "/" + database }

// RowsRead is how many rows of tables all statements have read since the process was started.
func (s *Server) RowsRead() (rows uint64) {
	s.t.Helper()
	response, err := http.Get("http://" + s.address + engine.RowsReadPath)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := fmt.Fscan(response.Body, &rows); err != nil {
		s.t.Fatal(err)
	}
	return rows
}

// Kill ends the process as kill -9 does, if it runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGKILL)
	_ = s.stdin.Close()
	_ = s.cmd.Wait() // says that it was killed
	s.cmd = nil
}

// Pause stops the process in the middle of what it does; its connections stay open.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Errorf("signal ClickHouse: %v", err)
	}
}
