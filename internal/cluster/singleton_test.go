package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/simnet"
)

// rival is a process that is after the right.
type rival struct {
	Singleton
	works  atomic.Bool // now
	unable atomic.Bool // to do the work, from outside
	failed atomic.Int32
	fails  atomic.Bool
	stop   context.CancelFunc
}

// startSingleton starts a process.
func startSingleton(t *testing.T, ctx context.Context, b *Bucket, node string, fails bool) *rival {
	t.Helper()
	p := &rival{}
	p.fails.Store(fails)
	p.Singleton = Singleton{
		Register: b, Name: "work", Node: node, Life: "1", Keep: func(node, _ string) bool { return node != "" },
		Every: 20 * time.Millisecond, Refusal: "not now", Logger: natstest.Logger(t),
		Able: func() error {
			if p.unable.Load() {
				return errors.New("unable")
			}
			return nil
		},
		Work: func(ctx context.Context, _ *Writer) error {
			if p.fails.Load() {
				p.failed.Add(1)
				return errors.New("it fails")
			}
			p.works.Store(true)
			defer p.works.Store(false)
			<-ctx.Done()
			return nil
		},
	}
	ctx, p.stop = context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	t.Cleanup(func() { p.stop(); <-done })
	return p
}

func (p *rival) atWork(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !p.works.Load(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s is not at work", p.Node)
		}
	}
}

// Whoever is there and cannot do the work leaves it to somebody else, whether it fails, cannot be
// begun, or cannot go on. All are alive all the time.
func TestWhoCannotGivesTheRightUp(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	b := bucket(t, conns[0])

	first := startSingleton(t, ctx, b, "a", true)
	for first.failed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	second := startSingleton(t, ctx, b, "b", false)
	second.atWork(t)
	first.fails.Store(false)
	for range 10 {
		if time.Sleep(first.Every); first.works.Load() { // it must not while the other one does
			t.Fatal("two are at work")
		}
	}
	second.unable.Store(true)
	first.atWork(t)
	if second.works.Load() {
		t.Error("two are at work")
	}
	first.unable.Store(true)
	second.unable.Store(false)
	second.atWork(t)
	if _, err := Claim(ctx, b, "work", "c", "1", func(node, _ string) bool { return node != "" }); !errors.Is(err, ErrConflict) {
		t.Errorf("the right of the one at work: %v", err)
	}
}

// Who is not fit for the work leaves it at the next look.
func TestWhoIsUnfitGivesTheRightUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		register := newSimRegister(func(int) int { return 0 })
		a := simnet.New(rand.New(rand.NewPCG(1, 1)), simDelay, ErrNobody).Add("a")
		began := time.Now()
		work := Singleton{
			Register: &asked{register, a, t.Context()}, Name: "other", Node: "a", Keep: everybody, Every: time.Second,
			Logger: slog.New(slog.DiscardHandler),
			Able: func() error {
				if time.Since(began) > 5*time.Second {
					return fmt.Errorf("%w: it decides otherwise", ErrUnfit)
				}
				return nil
			},
			Work: func(ctx context.Context, _ *Writer) error {
				<-ctx.Done()
				if after := time.Since(began); after > 7*time.Second {
					t.Errorf("it goes on for %v", after-5*time.Second)
				}
				return nil
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*unableLooks*time.Second)
		defer cancel()
		work.Run(ctx)
	})
}

// What keeps a process from its work for a moment only costs no term.
func TestWhoIsKeptUpShortlyStays(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	_, conns := brokers(t)
	b := bucket(t, conns[0])
	var looks atomic.Int32
	var terms atomic.Int32
	only := Singleton{
		Register: b, Name: "work", Node: "a", Life: "1", Keep: everybody, Every: time.Millisecond, Logger: natstest.Logger(t),
		Able: func() error {
			if looks.Add(1)%unableLooks == 0 {
				return nil
			}
			return errors.New("for a moment")
		},
		Work: func(ctx context.Context, _ *Writer) error { terms.Add(1); <-ctx.Done(); return nil },
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); only.Run(ctx) }()
	for looks.Load() < 10*unableLooks {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if n := terms.Load(); n != 1 {
		t.Errorf("%d terms, want one that lasts", n)
	}
}
