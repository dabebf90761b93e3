package chtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/chserver"
)

// Server is a [chserver.Process] that ends with its test.
type Server struct {
	*chserver.Process
	t testing.TB
}

// Start starts a ClickHouse with an empty data directory. The test fails if that is not possible.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartAt(t, "127.0.0.1")
}

// StartAt is [Start] for those who are not on this host: the server listens at an address of its.
func StartAt(t testing.TB, host string) *Server {
	t.Helper()
	s := &Server{Process: chserver.NewProcess(filepath.Join(t.TempDir(), "clickhouse"), net.JoinHostPort(host, "0")), t: t}
	t.Cleanup(s.Kill)
	s.Restart()
	return s
}

// Restart starts the process again. It must not be running.
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.Process.Start(); err != nil {
		s.t.Fatalf("start ClickHouse: %v", err)
	}
}

// Pause stops the process in the middle of what it is doing. Its connections stay open. The signal
// only asks for that: a thread on another processor may go on for a moment, so Pause waits until
// none does.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(stopPatience); !s.stopped(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("ClickHouse does not stop")
		}
	}
}

// stopPatience bounds the wait for the threads of a process to stop.
const stopPatience = time.Minute

// stopped reports whether every thread of the process is stopped.
func (s *Server) stopped() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.PID()))
	for _, thread := range threads {
		text, e := os.ReadFile(thread)
		if e != nil {
			continue // it has ended
		}
		// The state follows the name, which is in parentheses and may have any character in it.
		if state := text[bytes.LastIndexByte(text, ')')+1:]; !strings.HasPrefix(string(state), " T") {
			return false
		}
	}
	return err == nil && len(threads) > 0
}

// Resume lets a paused process continue.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.Signal(sig); err != nil {
		s.t.Errorf("signal ClickHouse: %v", err)
	}
}

// RowsRead returns how many rows of tables all statements have read since the process was started.
func (s *Server) RowsRead() uint64 {
	s.t.Helper()
	rows, err := s.Process.RowsRead()
	if err != nil {
		s.t.Fatalf("ask ClickHouse for the rows it has read: %v", err)
	}
	return rows
}
