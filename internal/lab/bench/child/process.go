package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// Process is a server in a process of its own. The zero value has not been started.
type Process struct {
	cmd    *exec.Cmd
	log    string // file of what it wrote
	exited chan struct{}
	ended  error // of cmd.Wait, once exited is closed
}

// Start starts a server that writes its messages to log.
func (p *Process) Start(cmd *exec.Cmd, log string) error {
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = f
	}
	cmd.Stderr = f
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.log, p.exited = cmd, log, make(chan struct{})
	go func() {
		p.ended = cmd.Wait()
		close(p.exited)
	}()
	return nil
}

const (
	startsWithin = time.Minute
	// StopsWithin is how long a server may take to stop before it is killed.
	StopsWithin = time.Minute
)

// Ready calls probe until it succeeds, the server exits, or the time that a start may take is over.
func (p *Process) Ready(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s exited (%w): %s", p.name(), p.ended, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %s", p.name(), err, p.lastWords())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

// lastWords returns the last of the server's messages.
func (p *Process) lastWords() string {
	const most = 2000
	text, _ := os.ReadFile(p.log) // the error that they explain is reported anyway
	return string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

// Exited is closed when a server that was started has exited, by itself or not.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// CPU returns the processor time used up to now, in seconds.
func (p *Process) CPU() (float64, error) { return measure.TreeCPUSeconds(p.cmd.Process.Pid) }

// Stop ends the server with a signal, and kills it if that does not help. Stopping a server that is
// not running is not an error.
func (p *Process) Stop(signal syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	defer func() { p.cmd = nil }()
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(StopsWithin):
		err := p.cmd.Process.Kill()
		<-p.exited
		return errors.Join(fmt.Errorf("%s did not stop within %s: %s", p.name(), StopsWithin, p.lastWords()), err)
	}
}
