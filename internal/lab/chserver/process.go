package chserver

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
	"time"
)

// startMax bounds the time that the engine takes to start, on a busy machine.
const startMax = 2 * time.Minute

// Process is a ClickHouse in a process of its own. It ends when the process that started it does.
type Process struct {
	dir     string
	address string // host:port; stays the same when the process is started again

	cmd   *exec.Cmd
	stdin io.Closer
}

// NewProcess returns a ClickHouse on a data directory that listens at an address of a host, not
// started yet. An address with the port 0 gets one at the first start.
func NewProcess(dir, address string) *Process { return &Process{dir: dir, address: address} }

var program struct {
	once sync.Once
	path string
	err  error
}

// build builds the engine's program, once in the life of this process; the go command caches it.
func build(ctx context.Context) (string, error) {
	program.once.Do(func() {
		if _, program.err = Library(ctx); program.err != nil {
			return
		}
		dir, err := os.MkdirTemp("", "chserver-")
		if err != nil {
			program.err = err
			return
		}
		program.path = filepath.Join(dir, "clickhouse")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", program.path,
			"github.com/receiptd/receiptd/internal/lab/chtest/cmd/clickhouse")
		if out, err := cmd.CombinedOutput(); err != nil {
			program.err = fmt.Errorf("build the engine's program: %w\n%s", err, out)
		}
	})
	return program.path, program.err
}

// Start starts the process. After Kill it starts it again, on the same data and at the same
// address.
func (p *Process) Start() error {
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	path, err := build(ctx)
	if err != nil {
		return err
	}
	cmd := exec.Command(path, "serve", "--data", p.dir, "--listen", p.address, "--stdin")
	cmd.Stderr = os.Stderr
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
	p.cmd, p.stdin = cmd, stdin
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.cmd = nil
		return errors.Join(fmt.Errorf("the engine did not print its address: %w", err), cmd.Wait())
	}
	_, p.address, _ = strings.Cut(strings.TrimSpace(line), "http://")
	return nil
}

// DSN returns what receiptd and clickhouse-go need to connect to a database of the server.
func (p *Process) DSN(database string) string { return "http://" + p.address + "/" + database }

// Kill ends the process as kill -9 does, if it is running.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.Signal(syscall.SIGKILL) // fails if the process is gone
	_ = p.stdin.Close()
	_ = p.cmd.Wait() // reports that it was killed
	p.cmd = nil
}

// Signal sends a signal to the running process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// PID returns the id of the running process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// RowsRead returns how many rows of tables all statements have read since the process was started.
func (p *Process) RowsRead() (rows uint64, err error) {
	response, err := http.Get("http://" + p.address + rowsReadPath)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = fmt.Fscan(response.Body, &rows)
	return rows, err
}

// rowsReadPath is the same as in package engine, which must not be linked into this process.
const rowsReadPath = "/rows-read"
