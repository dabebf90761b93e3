package chtest

import (
	"path/filepath"
	"syscall"
	"testing"

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
	s := &Server{Process: chserver.NewProcess(filepath.Join(t.TempDir(), "clickhouse")), t: t}
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

// Pause stops the process in the middle of what it is doing. Its connections stay open.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

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
