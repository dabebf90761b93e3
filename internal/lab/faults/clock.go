package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/internal/lab/clock"
)

// steppingPrograms builds, once, the programs whose wall clock can be set.
func (l *lab) steppingPrograms(ctx context.Context) (string, error) {
	if l.stepped != "" {
		return l.stepped, nil
	}
	dir := filepath.Join(l.dir, "stepping")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	overlay, err := clock.Overlay(dir)
	if errors.Is(err, clock.ErrOtherGo) {
		err = fmt.Errorf("%w: %w", errImpossible, err)
	}
	if err == nil {
		err = build(ctx, filepath.Join(dir, "bin"), "-overlay", overlay)
	}
	if err != nil {
		return "", err
	}
	l.stepped = filepath.Join(dir, "bin")
	return l.stepped, nil
}

// clockSteps step the wall clock of a server while it works, and set it for the starts after that.
func (l *lab) clockSteps(ctx context.Context) ([]faultCase, error) {
	programs, err := l.steppingPrograms(ctx)
	if err != nil {
		return nil, err
	}
	var cases []faultCase
	for _, by := range []time.Duration{-time.Second, -time.Hour, -24 * time.Hour, time.Hour, 24 * time.Hour} {
		add := func(name string, inflict func(ctx context.Context, s *server, c *clock.Clock) error) {
			cases = append(cases, faultCase{"by " + by.String() + " " + name, func(ctx context.Context, t *trial) (string, error) {
				c, err := clock.New(filepath.Join(t.dir, "clock"))
				if err != nil {
					return "", err
				}
				s := t.newServer(filepath.Join(t.dir, "data"), "--checkpoint-interval=200ms")
				s.programs, s.env = programs, []string{c.Env()}
				return t.livesThrough(ctx, s, func() error { return inflict(ctx, s, c) })
			}})
		}
		add("under load, and back", func(ctx context.Context, _ *server, c *clock.Clock) error {
			return errors.Join(c.Set(by), sleep(ctx, 1500*time.Millisecond), c.Set(0))
		})
		add("between starts", func(ctx context.Context, s *server, c *clock.Clock) error {
			return errors.Join(s.kill(), c.Set(by), s.start(ctx))
		})
	}
	return cases, nil
}
