package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// within tries for some seconds until something holds.
func within(seconds int, holds func() bool) bool {
	for deadline := time.Now().Add(time.Duration(seconds) * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// begin starts a server and what its clients will do on it.
func (t *trial) begin(ctx context.Context, s *server, clients int) (*life, error) {
	life, err := newLife(t.random.Uint64(), clients)
	if err == nil {
		err = s.start(ctx)
	}
	if err == nil {
		err = life.prepare(ctx, s)
	}
	return life, err
}

// under starts a server and a load on it, inflicts something after a drawn time, and lets the load
// come to an end.
func (t *trial) under(ctx context.Context, s *server, l *life, longest time.Duration, inflict func() error) error {
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.sendUntil(loading, s)
	}()
	time.Sleep(longest/10 + time.Duration(t.random.Int64N(int64(longest))))
	err := inflict()
	// What is under way gets its answer, if it is one that still comes.
	time.Sleep(50 * time.Millisecond)
	stop()
	<-ended
	return err
}

// cyclesPerLife is how often one data directory is killed, so that many are at different stages.
const cyclesPerLife = 25

// kills kill the server under load, again and again on the same data.
func (l *lab) kills(context.Context) ([]faultCase, error) {
	var cases []faultCase
	for from := 0; from < l.Kills; from += cyclesPerLife {
		cycles := min(cyclesPerLife, l.Kills-from)
		cases = append(cases, faultCase{fmt.Sprintf("%d cycles", cycles), func(ctx context.Context, t *trial) (string, error) {
			return t.killCycles(ctx, cycles)
		}})
	}
	return cases, nil
}

func (t *trial) killCycles(ctx context.Context, cycles int) (string, error) {
	s := t.newServer(filepath.Join(t.dir, "data"), "--checkpoint-interval=200ms")
	defer s.kill()
	life, err := t.begin(ctx, s, 3)
	if err != nil {
		return "", err
	}
	for n := range cycles {
		if err := t.under(ctx, s, life, 400*time.Millisecond, s.kill); err != nil {
			return "", err
		}
		// Now and then the start after a kill is killed too.
		for t.random.IntN(4) == 0 {
			if err := s.launch(); err != nil {
				return "", err
			}
			time.Sleep(time.Duration(t.random.IntN(300)) * time.Millisecond)
			if err := s.kill(); err != nil {
				return "", err
			}
		}
		if err := s.start(ctx); err != nil {
			return "", fmt.Errorf("kill %d: %w", n, err)
		}
		if err := life.atLeast(ctx, s); err != nil {
			return "", fmt.Errorf("kill %d: %w", n, err)
		}
		if n%5 == 4 {
			if err := life.survived(ctx, s); err != nil {
				return "", fmt.Errorf("kill %d: %w", n, err)
			}
		}
	}
	if err := life.survived(ctx, s); err != nil {
		return "", err
	}
	return fmt.Sprintf("data directories killed %d times each: equal", cycles), s.stop()
}

// pauses stop the process for up to some seconds, under load.
func (l *lab) pauses(context.Context) ([]faultCase, error) {
	var cases []faultCase
	for _, pause := range []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second} {
		cases = append(cases, faultCase{"for " + pause.String(), func(ctx context.Context, t *trial) (string, error) {
			return t.alive(ctx, func(s *server) error {
				return errors.Join(s.cmd.Process.Signal(syscall.SIGSTOP), sleep(ctx, pause), s.cmd.Process.Signal(syscall.SIGCONT))
			})
		}})
	}
	return cases, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}

// alive inflicts something that the server must live through.
func (t *trial) alive(ctx context.Context, inflict func(s *server) error, args ...string) (string, error) {
	s := t.newServer(filepath.Join(t.dir, "data"), args...)
	return t.livesThrough(ctx, s, func() error { return inflict(s) })
}

func (t *trial) livesThrough(ctx context.Context, s *server, inflict func() error) (string, error) {
	defer s.kill()
	life, err := t.begin(ctx, s, 3)
	if err == nil {
		err = t.under(ctx, s, life, 500*time.Millisecond, inflict)
	}
	if err == nil && !s.running() {
		err = fmt.Errorf("it ended: %s", s.lastWords())
	}
	if err == nil {
		err = life.survived(ctx, s)
	}
	for _, end := range []func() error{s.kill, s.stop} {
		if err == nil {
			err = end()
		}
		if err == nil {
			err = s.start(ctx)
		}
		if err == nil {
			err = life.survived(ctx, s)
		}
	}
	return "went on, and equal after kill -9 and a clean stop", errors.Join(err, s.panicked())
}
