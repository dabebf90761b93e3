package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often it is looked whether the copy here serves, and after what time a copy
	// is looked for again where there was none.
	lookEvery = 20 * time.Millisecond
	againIn   = 100 * time.Millisecond
	// lagMax is how long a feed may take to come to where another copy is.
	lagMax = time.Second
	// avoidFor is how long a copy is the last choice that has broken off a feed.
	avoidFor = 3 * time.Second
	// joinMax is how long a copy here that serves again waits for the feed to come to where it
	// began.
	joinMax = time.Second
)

var (
	errLag  = errors.New("it is behind other copies")
	errNone = errors.New("no other node is heard of that has a copy")
)

// numbers tell the feeds of a process apart.
var numbers atomic.Uint64

// keeper has a feed of a partition whenever the copy here does not serve.
type keeper struct {
	*Feeds
	partition int
	in        *incoming
	avoid     map[string]time.Time
	quiet     bool // it was said that there is none
}

func (f *Feeds) keep(ctx context.Context, partition int) {
	k := &keeper{Feeds: f, partition: partition, in: &f.parts[partition].in, avoid: map[string]time.Time{}}
	for ctx.Err() == nil {
		select {
		case <-f.parts[partition].lost:
		case <-ctx.Done():
			return
		}
		if k.serves(0) {
			continue
		}
		k.in.begin(f.o.State.Folded()[partition])
		for ctx.Err() == nil && !k.fed(ctx) {
		}
	}
}

// watch wakes those who keep partitions whose copies here do not serve: one look for all of them.
func (f *Feeds) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for k, p := range f.parts {
			if f.o.State.Serves(k, 0) {
				continue
			}
			select {
			case p.lost <- struct{}{}:
			default: // it knows
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *keeper) serves(sequence uint64) bool { return k.o.State.Serves(k.partition, sequence) }

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// fed takes one feed, as long as it lasts. It reports whether the copy here tells again.
func (k *keeper) fed(ctx context.Context) bool {
	l, err := k.begin(ctx)
	if err != nil {
		if k.serves(0) && k.join(ctx, nil) {
			return true
		}
		if !k.quiet && ctx.Err() == nil {
			k.quiet = true
			k.o.Logger.Warn("users who are online here are told nothing of a partition until a copy of it serves", "partition", k.partition, "error", err)
		}
		pause(ctx, againIn)
		return false
	}
	k.quiet = false
	k.o.Logger.Info("another node tells what happens in a partition", "partition", k.partition, "node", l.node)
	err = k.follow(ctx, l)
	if err == nil {
		k.o.Logger.Info("the copy here tells what happens in a partition again", "partition", k.partition)
		return true
	}
	k.in.lose()
	if ctx.Err() == nil {
		k.total.WithLabelValues(kindBroken).Inc()
		k.avoid[l.node] = time.Now()
		k.o.Logger.Warn("a feed broke off; another copy is asked", "partition", k.partition, "error", err)
	}
	return false
}

// begin begins a feed of the first copy that gives one.
func (k *keeper) begin(ctx context.Context) (*line, error) {
	why := errNone
	for _, node := range k.candidates() {
		id := k.o.Node + "." + k.o.ID + "." + strconv.FormatUint(numbers.Add(1), 10)
		l := newLine(k.o.Bus, node, id, k.partition)
		after, err := l.open(ctx, k.online)
		if err == nil {
			k.total.WithLabelValues(kindBegun).Inc()
			k.in.follow(l, after)
			return l, nil
		}
		if why = err; ctx.Err() != nil {
			break
		}
		k.avoid[node] = time.Now()
	}
	return nil, why
}

// candidates are the copies in the order in which they are asked, those last that have failed.
func (k *keeper) candidates() []string {
	preferred, others := k.o.Copies(k.partition)
	list := slices.Concat(preferred, others)
	failed := func(node string) bool { return time.Since(k.avoid[node]) < avoidFor }
	last := slices.DeleteFunc(slices.Clone(list), func(node string) bool { return !failed(node) })
	return append(slices.DeleteFunc(list, failed), last...)
}

// online are the users who are.
func (k *keeper) online() (list []uint64) {
	for app, user := range k.hub.Users() {
		list = append(list, hash(app, user))
	}
	return list
}

// follow tells what comes by a feed. It returns nil once the copy here tells again.
func (k *keeper) follow(ctx context.Context, l *line) error {
	goal, since := k.o.Furthest(k.partition), time.Now()
	for {
		told, asked := k.in.watermark(), time.Now()
		x, err := l.poll(ctx, told)
		if err != nil {
			return err
		}
		k.in.take(&x)
		if k.serves(told) && k.join(ctx, l) {
			return nil
		}
		switch {
		case k.in.watermark() >= goal:
			// The time that the answer took counts: a copy that stood still may lag from then on.
			goal, since = k.o.Furthest(k.partition), asked
		case time.Since(since) > lagMax:
			return fmt.Errorf("feed of partition %d from %s: %w", k.partition, l.node, errLag)
		}
		if x.Users > 2*k.hub.Count()+whomMax { // most have gone
			if _, err := l.open(ctx, k.online); err != nil {
				return err
			}
		}
	}
}

// join has the copy here tell again, from an entry that the feed has come to; after a while, or if
// there is none, from where it is. It reports whether it does.
func (k *keeper) join(ctx context.Context, l *line) bool {
	k.in.hold()
	at, err := k.position(k.partition)
	if err != nil {
		k.in.follow(l, 0)
		return false
	}
	k.in.heldFrom(at)
	for end := time.Now().Add(joinMax); l != nil && !k.in.joined() && time.Now().Before(end); {
		x, err := l.poll(ctx, k.in.watermark())
		if err != nil {
			break
		}
		k.in.take(&x)
	}
	if !k.serves(0) {
		k.in.follow(l, 0)
		return false
	}
	k.in.takeOver()
	return true
}
