package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/projections"
)

// Hub tells the users who are online. [notify.Hub] is one.
type Hub interface {
	Online(app, user string) bool
	Push(effects []projections.Effect)
	// SetRemote says that what is pushed of a partition comes from another node, now and then.
	SetRemote(partition int)
	// Missed has all of them look in their summaries for what a partition's entries after one did,
	// up to another one.
	Missed(partition int, after, upto uint64)
	// Users are those who are online, and Count is how many.
	Users() iter.Seq2[string, string]
	Count() int
}

// State is the copies that this node has. [projector.Projector] is one. A partition that it has
// none of is one that it never serves.
type State interface {
	// Serves reports whether a partition is answered for from a state that has folded an entry.
	Serves(partition int, sequence uint64) bool
	// Folded is the last entry of each partition that was folded here.
	Folded() []uint64
	// Ask runs a query between two entries.
	Ask(partition int, f func(*projections.Partition) error) error
}

// Options are what feeds are made of.
type Options struct {
	// ID tells the process apart from all others, and Node is the name that others ask it by.
	ID, Node string
	Bus      cluster.Bus
	State    State
	// Copies are the other nodes that have a copy of a partition: those to be asked first, and
	// those to be asked if none of these answers. Furthest is how far the one has folded it that
	// is furthest, as far as is known.
	Copies   func(partition int) (preferred, others []string)
	Furthest func(partition int) uint64

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Feeds are those that a node gives and takes, of all partitions.
type Feeds struct {
	o     Options
	hub   Hub
	parts []*Partition
	total *prometheus.CounterVec
	lines sync.WaitGroup
}

// Partition is what the fold of a partition tells, to the users who are online here and to other
// nodes.
type Partition struct {
	hub Hub
	out outgoing
	in  incoming
	// lost has a token when the copy here was found not to serve.
	lost chan struct{}
}

// New makes feeds for a log of so many partitions. Until [Feeds.Run] the folds here tell
// everything.
func New(hub Hub, partitions int) *Feeds {
	f := &Feeds{hub: hub, parts: make([]*Partition, partitions)}
	for k := range f.parts {
		f.parts[k] = &Partition{hub: hub, in: incoming{hub: hub, partition: k}, lost: make(chan struct{}, 1)}
	}
	return f
}

// Of is what the fold of a partition tells its effects to.
func (f *Feeds) Of(partition int) *Partition { return f.parts[partition] }

// Online reports whether a user is online here or at a node that is fed.
func (p *Partition) Online(app, user string) bool {
	return p.hub.Online(app, user) || p.out.wants(app, user)
}

// Push takes what the fold did at an entry.
func (p *Partition) Push(list []projections.Effect) {
	p.out.push(list)
	p.in.push(list)
}

// Folded notes that the fold has come to an entry.
func (p *Partition) Folded(sequence uint64) { p.out.folded(sequence) }

// Kinds of what is counted.
const (
	kindBegun  = "begun"
	kindBroken = "broken"
	kindGiven  = "given"
)

// Join makes the node known. It is called once, before Run.
func (f *Feeds) Join(o Options) {
	f.o = o
	f.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "receiptd_cluster_feeds_total", Help: "Feeds of partitions that this node does not serve: those that it has begun, those of them that broke off, and those that it began to give to others.",
	}, []string{"kind"})
	for _, kind := range []string{kindBegun, kindBroken, kindGiven} {
		f.total.WithLabelValues(kind)
	}
	o.Registerer.MustRegister(f.total)
}

// Run gives feeds to other nodes, and takes those of partitions that the node does not serve, until
// the context ends.
func (f *Feeds) Run(ctx context.Context) error {
	stop, err := f.o.Bus.Answer(f.o.Node, func(text []byte) []byte { return f.answer(ctx, text) })
	if err != nil {
		return fmt.Errorf("give feeds: %w", err)
	}
	defer stop()
	for k := range f.parts {
		f.lines.Go(func() { f.keep(ctx, k) })
	}
	f.lines.Go(func() { f.watch(ctx) })
	defer f.lines.Wait()
	tick := time.NewTicker(unasked / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, p := range f.parts {
				p.out.expire()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// answer answers a request of another node.
func (f *Feeds) answer(ctx context.Context, text []byte) []byte {
	var rq request
	var x reply
	err := json.Unmarshal(text, &rq)
	switch {
	case err != nil:
		x.Problem = "malformed: " + err.Error()
	case rq.Partition < 0 || rq.Partition >= len(f.parts):
		x.Problem = fmt.Sprintf("no partition %d", rq.Partition)
	case !f.o.State.Serves(rq.Partition, 0):
		x.Problem = "the copy here does not serve"
	case rq.Poll:
		x = f.parts[rq.Partition].out.poll(ctx, &rq)
	default:
		if rq.First {
			f.total.WithLabelValues(kindGiven).Inc()
		}
		x = f.parts[rq.Partition].out.name(&rq, func() (uint64, error) { return f.position(rq.Partition) })
	}
	if text, err = json.Marshal(x); err != nil {
		return []byte(`{"problem":"the answer cannot be encoded"}`)
	}
	return text
}

// position is where the fold here stands, between two entries.
func (f *Feeds) position(partition int) (at uint64, err error) {
	err = f.o.State.Ask(partition, func(part *projections.Partition) error {
		at, _ = part.Position()
		return nil
	})
	return at, err
}

// errUntold is the error where nobody tells of a partition.
var errUntold = errors.New("feed: no copy of a partition tells what happens in it")

// Cover returns when all that happens to a user in a partition, after the entry that is returned,
// is told to those who are online as that user. It is called after they have become online, and
// before their summary is asked for, which has to have that entry in it: then nothing is lost
// between the two. It is not before the watermark, up to which nothing is told again, whoever tells
// it: a copy that is behind, or the fold here. It is 0 for users who are not online.
func (f *Feeds) Cover(ctx context.Context, partition int, app, user string) (after uint64, err error) {
	if !f.hub.Online(app, user) {
		return 0, nil
	}
	for {
		in := &f.parts[partition].in
		source, line, changed := in.now()
		if source == own {
			return in.watermark(), nil
		}
		if line != nil {
			if after, err = line.name(ctx, hash(app, user)); err == nil {
				return max(after, in.watermark()), nil
			}
		}
		again := time.NewTimer(lookEvery)
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return 0, errors.Join(errUntold, err)
		}
		again.Stop()
	}
}
