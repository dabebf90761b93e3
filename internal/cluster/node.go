package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/copystate"
)

// BucketName names the bucket of secrets, floors and writers.
const BucketName = "receiptd_cluster"

// Options of a [Node].
type Options struct {
	// Name tells the nodes apart, Life the processes of a node, Version what they run.
	Name, Life, Version string
	// Bus is for what the nodes tell and ask each other, and Bucket where they agree.
	Bus      Bus
	Bucket   *Bucket
	Register Register // the bucket, where nodes agree on copies
	Log      Log
	State    State
	// Plan is what was planned when the node began, and MoveAfter how long a node is silent before
	// others fold what it did; 0 = defaultMoveAfter.
	Plan      Plan
	MoveAfter time.Duration
	// Snapshots is set if copies may begin from snapshots: what a node does not fold it needs
	// nothing of then. Without them nobody could begin from a log that has lost its start.
	Snapshots bool
	// FloorEvery is the time between two looks at what may leave the log: what a node no longer
	// needs is said as often, or what was looked at would be old. It is floorMax at most; 0 = that.
	FloorEvery time.Duration
	// MaxLevel is the highest level of the rules that this program decides by, at least 1.
	MaxLevel uint64
	// Raise is the level to raise where all nodes know one: others are raised by those who need
	// them.
	Raise func(known uint64) uint64
	// Draining is set when the node is stopping.
	Draining   func() bool
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Node is this process's part in the cluster.
type Node struct {
	o          Options
	state      State
	members    *membership
	copies     []comparison
	reconciler *reconciler
	naming     sync.Mutex // held from when the names are read until they are known here

	ready      atomic.Pointer[readiness]
	background sync.WaitGroup

	divergences *prometheus.CounterVec
}

// New makes a node, and says in the bucket that it needs the whole log, unless it has said before
// what it does not: so nothing that it lacks leaves the log from here on. After an error it may be
// called again.
func New(ctx context.Context, o Options) (*Node, error) {
	n := &Node{o: o, state: o.State, copies: make([]comparison, o.Log.Partitions())}
	n.members = newMembers(o.Bus, o.Name, o.Life, o.Log.Identity(), n.beat)
	n.reconciler = newReconciler(&n.o, n.members)
	n.reconciler.keepFloor, n.reconciler.agrees = n.KeepFloor, n.agrees
	names, err := n.learn(ctx)
	if _, there := names[o.Name]; err == nil && !there {
		err = n.putFloor(ctx, make([]uint64, len(n.copies)))
	}
	if err != nil {
		return nil, err
	}
	n.divergences = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "receiptd_cluster_divergences_total", Help: "Times that copies of a partition's state differed at the same entry, as this node saw it.",
	}, []string{"partition"})
	for k := range n.copies {
		n.divergences.WithLabelValues(strconv.Itoa(k))
	}
	o.Registerer.MustRegister(n.divergences, &collector{n})
	return n, nil
}

// Run tells the other nodes of this one, compares copies, and keeps the floor, until the context
// ends, or with [ErrNameTaken] if another process took the name.
func (n *Node) Run(ctx context.Context) error {
	defer n.background.Wait()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.members.run(ctx) })
	group.Go(func() error { return n.contest(ctx) })
	group.Go(func() error { return every(ctx, readyEvery, func() { n.look() }) })
	group.Go(func() error { return every(ctx, beatEvery, func() { n.compareAll(ctx) }) })
	group.Go(func() error { return every(ctx, levelEvery, func() { n.raiseLevel(ctx) }) })
	group.Go(func() error { return n.reconciler.run(ctx) })
	group.Go(func() error { // if they cannot be read, what is known has to do
		return every(ctx, namesEvery, func() { _, _ = n.learn(ctx) })
	})
	group.Go(func() error {
		return every(ctx, n.o.floorEvery(), func() {
			if err := n.KeepFloor(ctx); err != nil && ctx.Err() == nil {
				n.o.Logger.Warn("the other nodes were not told what this one still needs of the log", "error", err)
			}
		})
	})
	return group.Wait()
}

// every calls a function at once and then at intervals, until the context ends.
func every(ctx context.Context, interval time.Duration, f func()) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		f()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// readiness is what came of the last look at whether the state has caught up with the log.
type readiness struct {
	err  error
	last time.Time // when it had
}

const (
	readyEvery = time.Second
	// readyGrace is how long a node that had caught up counts as ready when the log does not
	// answer: a partition whose broker died has no leader for some seconds, and there is no better
	// node then.
	readyGrace = 15 * time.Second
)

func (n *Node) look() {
	now := readiness{err: n.state.Ready()}
	if before := n.ready.Load(); before != nil {
		now.last = before.last
	}
	if now.err == nil {
		now.last = time.Now()
	}
	n.ready.Store(&now)
}

// Ready returns nil if this node's state has caught up with the log, or had some seconds ago.
func (n *Node) Ready() error {
	switch r := n.ready.Load(); {
	case r == nil:
		return errors.New("the node is starting")
	case r.err != nil && time.Since(r.last) > readyGrace:
		return r.err
	}
	return nil
}

// beat is what this node says of itself.
func (n *Node) beat() beat {
	b := beat{Node: n.o.Name, Life: n.o.Life, Log: n.o.Log.Identity(), Version: n.o.Version, State: StateServing, MinLevel: 1, MaxLevel: n.o.MaxLevel, Copies: make([]copyBeat, len(n.copies))}
	switch {
	case n.o.Draining():
		b.State = StateDraining
	default:
		if err := n.Ready(); err != nil {
			b.State, b.Problem = StateStarting, err.Error()
		}
	}
	levels := n.state.Levels()
	for k, at := range n.state.Folded() {
		phase, stuck := n.reconciler.now(k)
		refused := n.refused(k)
		c := &n.copies[k]
		c.mu.Lock()
		b.Copies[k] = copyBeat{
			Applied: at, Quarantined: n.state.Condemned(k), Refused: refused != "", Phase: phase, Stuck: cmp.Or(refused, stuck),
			Level: levels[k], Compare: c.compare, Checksum: cmp.Or(c.checksum, c.wrong),
		}
		c.mu.Unlock()
	}
	return b
}

// Name is the node's.
func (n *Node) Name() string { return n.o.Name }

// alive reports whether a process of a node was heard of within some seconds.
func (n *Node) Alive(node, life string) bool { return n.members.alive(node, life) }

// Asker asks the copies that other nodes have.
func (n *Node) Asker() *Asker { return &Asker{Bus: n.o.Bus, Copies: n.Copies} }

// Copies are the other nodes that have a copy of a partition: those that serve and keep up, and all
// others that may be asked.
func (n *Node) Copies(partition int) (preferred, others []string) {
	return n.members.copiesOf(partition)
}

// Others are the other nodes that are heard of, or were until some seconds ago.
func (n *Node) Others() []string { return n.members.others() }

// Furthest is the last entry of a partition that a node has folded, as far as is known here.
func (n *Node) Furthest(partition int) uint64 { return n.members.furthest(partition) }

// Describe returns the cluster as this node sees it. What it says of this node is of now, and what
// it says of another one as old as that one's last beat.
func (n *Node) Describe() View {
	n.members.note(n.beat())
	v := n.members.view(len(n.copies))
	v.RulesLevel = n.members.level(len(n.copies))
	plan := n.reconciler.planned()
	can := n.reconciler.can(&plan)
	v.Copies, v.Moves = plan.Copies, plan.Moves
	var undrained []string
	for i := range v.Nodes {
		x := &v.Nodes[i]
		if x.Drained = slices.Contains(plan.Drained, x.Node); !x.Drained {
			undrained = append(undrained, x.Node)
		}
	}
	if plan.Copies == 0 {
		can = undrained // nobody takes the place of one that is away: its copies are missing
	}
	for k, nodes := range plan.wanted(len(n.copies), can) {
		v.Partitions[k].Wanted = nodes
		c := &n.copies[k]
		c.mu.Lock()
		v.Partitions[k].Compared = c.agreed
		c.mu.Unlock()
	}
	return v
}

// collector shows the cluster's figures as this node sees them.
type collector struct{ n *Node }

var (
	descNode    = prometheus.NewDesc("receiptd_node_info", "1, with the name of the node that answers and its incarnation.", []string{"node", "incarnation"}, nil)
	descMembers = prometheus.NewDesc("receiptd_cluster_nodes", "Nodes that were not forgotten, by state.", []string{"state"}, nil)
	descCopies  = prometheus.NewDesc("receiptd_cluster_copies", "Nodes that answer for the partition from a copy of their own.", []string{"partition"}, nil)
	descWanted  = prometheus.NewDesc("receiptd_cluster_copies_wanted", "Nodes that are to do so; without --copies those that are silent, too, until they are forgotten.", []string{"partition"}, nil)
	descRefused = prometheus.NewDesc("receiptd_cluster_copy_refused", "1 if the copy of the partition here differed from the others again after it was folded again, and is put aside until the next start.", []string{"partition"}, nil)
	descAgreed  = prometheus.NewDesc("receiptd_cluster_compared_sequence", "Last entry at which all copies were found to be the same.", []string{"partition"}, nil)
)

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(descNode, prometheus.GaugeValue, 1, c.n.o.Name, c.n.o.Life)
	v := c.n.Describe()
	states := map[string]int{StateServing: 0, StateStarting: 0, StateDraining: 0, StateSilent: 0}
	for _, m := range v.Nodes {
		states[m.State]++
	}
	for state, count := range states {
		ch <- prometheus.MustNewConstMetric(descMembers, prometheus.GaugeValue, float64(count), state)
	}
	for _, p := range v.Partitions {
		partition := strconv.Itoa(p.Partition)
		if c.n.state.CopyState(p.Partition) == copystate.Here {
			ch <- prometheus.MustNewConstMetric(descAgreed, prometheus.GaugeValue, float64(p.Compared), partition)
			refused := 0.0
			if c.n.refused(p.Partition) != "" {
				refused = 1
			}
			ch <- prometheus.MustNewConstMetric(descRefused, prometheus.GaugeValue, refused, partition)
		}
		serving := 0
		for _, x := range p.Copies {
			if x.State == StateServing || x.State == StateFollowing {
				serving++
			}
		}
		ch <- prometheus.MustNewConstMetric(descCopies, prometheus.GaugeValue, float64(serving), partition)
		ch <- prometheus.MustNewConstMetric(descWanted, prometheus.GaugeValue, float64(max(v.Copies, len(p.Wanted))), partition)
	}
}
