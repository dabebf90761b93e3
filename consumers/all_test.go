package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/consumers"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

// sent is a message of a single chat.
func sent(chat, n int) events.Event {
	return events.Event{
		Kind: events.MessageSent, App: consumertest.App, User: "alice", Peer: fmt.Sprint("peer", chat), Message: fmt.Sprint(n),
	}
}

// keeper is a consumer that keeps, in memory, how far it has come and what it was given.
type keeper struct {
	mu    sync.Mutex
	after map[int]uint64
	chats map[string][]string // messages of each peer, as they came
	left  int                 // messages until FollowAll is ended
	end   func()
	fail  error
}

func (k *keeper) begin(_ context.Context, partition int) (uint64, consumers.Handler, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.after[partition], consumers.HandlerFunc(func(ctx context.Context, x *projections.Decoded, _ *eventlog.Entry) error {
		return k.handle(partition, x)
	}), nil
}

func (k *keeper) handle(partition int, x *projections.Decoded) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var e events.Event
	for i := range x.Batch.Kinds {
		if x.Batch.Event(i, &e); e.Kind == events.MessageSent {
			peer := fmt.Sprint(e.Peer)
			k.chats[peer] = append(k.chats[peer], fmt.Sprint(e.Message))
			k.left--
		}
	}
	k.after[partition] = x.Sequence
	if k.left <= 0 {
		k.end()
	}
	return k.fail
}

const chats = 8

// messages stores one of each chat, n times, each in an entry of its own.
func messages(l *consumertest.Log, first, n int) {
	for i := first; i < first+n; i++ {
		for chat := range chats {
			l.Put(1, sent(chat, i))
		}
	}
}

// follow has a keeper follow a log until it has had so many messages of each chat in all.
func (k *keeper) follow(t *testing.T, l *consumertest.Log, n int) error {
	ctx, cancel := context.WithCancel(consumertest.Context(t))
	defer cancel()
	k.left, k.end = n*chats, cancel
	for _, had := range k.chats {
		k.left -= len(had)
	}
	err := consumers.FollowAll(ctx, l, natstest.Logger(t), k.begin)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%d messages never came", k.left)
	}
	return err
}

// A log is repartitioned twice. Whether a consumer was there before, stood somewhere in the middle,
// or comes when it is over: it is given each entry once, and those of a conversation in order.
func TestEachEntryIsHandedOverOnceOfALogThatForked(t *testing.T) {
	l := consumertest.OpenAlone(t, 1)
	old := &keeper{after: map[int]uint64{}, chats: map[string][]string{}}
	messages(l, 0, 3)
	if err := old.follow(t, l, 2); err != nil { // it is ended in the middle
		t.Fatal(err)
	}
	for n := 3; n < 9; n += 3 {
		l.Repartition()
		messages(l, n, 3)
	}
	if l.Partitions() != 4 {
		t.Fatalf("%d partitions", l.Partitions())
	}
	fresh := &keeper{after: map[int]uint64{}, chats: map[string][]string{}}
	if err := errors.Join(old.follow(t, l, 9), fresh.follow(t, l, 9)); err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*keeper{"old": old, "new": fresh} {
		for chat := range chats {
			if got := fmt.Sprint(k.chats[fmt.Sprint("peer", chat)]); got != "[0 1 2 3 4 5 6 7 8]" {
				t.Errorf("%s consumer, chat %d: %s", name, chat, got)
			}
		}
	}
}

// What a handler returns ends all, also those who wait for it.
func TestFollowAllEndsWithTheFirstError(t *testing.T) {
	l := consumertest.OpenAlone(t, 1)
	messages(l, 0, 1)
	l.Repartition()
	broken := errors.New("broken")
	k := &keeper{after: map[int]uint64{}, chats: map[string][]string{}, fail: broken}
	if err := k.follow(t, l, 1); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	failed := func(context.Context, int) (uint64, consumers.Handler, error) { return 0, nil, broken }
	if err := consumers.FollowAll(consumertest.Context(t), l, nil, failed); !errors.Is(err, broken) {
		t.Errorf("not begun: %v", err)
	}
}
