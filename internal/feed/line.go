package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/cluster"
)

const (
	// pollWait is how long the copy waits for something to tell; an answer that takes patience
	// longer is not waited for.
	pollWait = 250 * time.Millisecond
	patience = 500 * time.Millisecond
	// whomMax bounds the users that are named at a time.
	whomMax = 32 << 10
)

// line is a feed as the node has it that is fed.
type line struct {
	bus       cluster.Bus
	node, id  string
	partition int

	// busy holds a token while users are named: all of them anew, or more of them.
	busy chan struct{}
	mu   sync.Mutex
	next *namedUsers // those who are named next, together; nil for nobody
}

func newLine(bus cluster.Bus, node, id string, partition int) *line {
	return &line{bus: bus, node: node, id: id, partition: partition, busy: make(chan struct{}, 1)}
}

// namedUsers are users who are named together. The copy tells of them after an entry.
type namedUsers struct {
	users []uint64
	done  chan struct{}
	after uint64
	err   error
}

// ask sends a request to the copy.
func (l *line) ask(ctx context.Context, rq request, limit time.Duration) (x reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	rq.ID, rq.Partition = l.id, l.partition
	text, err := json.Marshal(rq)
	if err == nil {
		text, err = l.bus.Ask(ctx, l.node, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &x)
	}
	switch {
	case err != nil:
		return x, fmt.Errorf("feed of partition %d from %s: %w", l.partition, l.node, err)
	case x.Problem != "":
		return x, fmt.Errorf("feed of partition %d from %s: %s", l.partition, l.node, x.Problem)
	}
	return x, nil
}

// open begins the feed, or has it be for other users than before. All that happens to them after
// the entry that is returned is told.
func (l *line) open(ctx context.Context, users func() []uint64) (after uint64, err error) {
	l.busy <- struct{}{}
	defer func() { <-l.busy }()
	// Whoever comes while they are listed is named once more, after that.
	list := users()
	for rq := (request{First: true}); !rq.Last; rq.First = false {
		some := list[:min(len(list), whomMax)]
		list = list[len(some):]
		rq.Whom, rq.Last = encodeHashes(some), len(list) == 0
		x, err := l.ask(ctx, rq, patience)
		if err != nil {
			return 0, err
		}
		after = x.After
	}
	return after, nil
}

// name has the feed tell of a user, too, and returns the entry after which it does. Those who come
// while others are named are named together.
func (l *line) name(ctx context.Context, user uint64) (after uint64, err error) {
	l.mu.Lock()
	n := l.next
	if n == nil {
		n = &namedUsers{done: make(chan struct{})}
		l.next = n
		go l.nameNext(context.WithoutCancel(ctx))
	}
	n.users = append(n.users, user)
	l.mu.Unlock()
	select {
	case <-n.done:
		return n.after, n.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (l *line) nameNext(ctx context.Context) {
	l.busy <- struct{}{}
	defer func() { <-l.busy }()
	l.mu.Lock()
	n := l.next
	l.next = nil
	l.mu.Unlock()
	defer close(n.done)
	for list := n.users; len(list) > 0 && n.err == nil; {
		some := list[:min(len(list), whomMax)]
		list = list[len(some):]
		var x reply
		x, n.err = l.ask(ctx, request{Whom: encodeHashes(some)}, patience)
		n.after = x.After
	}
}

// poll returns what comes after an entry.
func (l *line) poll(ctx context.Context, after uint64) (reply, error) {
	x, err := l.ask(ctx, request{Poll: true, After: after, Wait: pollWait.Milliseconds()}, pollWait+patience)
	if err == nil && !x.sound(l.partition) {
		err = fmt.Errorf("feed of partition %d from %s: %w", l.partition, l.node, errUnsound)
	}
	return x, err
}
