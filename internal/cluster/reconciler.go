package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/copystate"
)

const (
	// reconcileEvery is how often a node looks whether it is to fold what it folds, and planEvery
	// how often it asks what is planned.
	reconcileEvery = 500 * time.Millisecond
	planEvery      = 2 * time.Second
	// leaveAfter is how long a copy that leaves is still there, for others to hear of it.
	leaveAfter = time.Second
	// retryAfter is when what failed is tried again.
	retryAfter = 5 * time.Second
	// defaultMoveAfter is how long a node is silent before others fold what it did: longer than
	// the restart of a process, or of most machines, takes.
	defaultMoveAfter = time.Minute
)

// holdings are what a node does with its copies.
type holdings interface {
	CopyState(partition int) copystate.State
	// Serves reports whether the copy is answered from, with an entry in it.
	Serves(partition int, sequence uint64) bool
	// Folded is the last entry folded, of each partition.
	Folded() []uint64
	// AddCopy brings a copy here, unless there is one. It arrives until it is complete.
	AddCopy(ctx context.Context, partition int) error
	// DropCopy removes a copy.
	DropCopy(partition int) error
}

// copyStatus is what a node does about its copy of a partition.
type copyStatus struct {
	// vouched is set while this process is on the partition's record.
	vouched bool
	// leaving is when it was taken off the record to leave; zero if it is not leaving.
	leaving time.Time
	// again is when it may be begun again after a failure.
	again time.Time
	// stuck is why it has not come, or not left, although it is to; empty if nothing is in the way.
	stuck string
}

// reconciler brings the copies that a node has to those that it is to have. Every node decides for
// itself, from what it hears and what is planned. Their views may differ; so may what they fold,
// for as long as that lasts. A copy is let go of only by way of its partition's record, so that
// enough others are never gone.
type reconciler struct {
	node    string
	after   time.Duration
	members *membership
	copies  holdings
	of      int // partitions
	r       Register
	// keepFloor says what this node needs of the log: all of a partition that arrives.
	keepFloor func(ctx context.Context) error
	// agrees reports whether a node's copy was the same as the one here at an entry.
	agrees func(partition int, m *member) bool
	logger *slog.Logger

	work sync.WaitGroup

	mu      sync.Mutex
	plan    Plan
	asked   time.Time // when it was asked for last
	all     []copyStatus
	coming  int // the partition that is being begun; -1 for none
	problem string
}

func newReconciler(o *Options, members *membership) *reconciler {
	after := o.MoveAfter
	if after == 0 {
		after = defaultMoveAfter
	}
	of := o.Log.Partitions()
	return &reconciler{
		node: o.Name, after: after, members: members, copies: o.State, of: of, r: o.Register, plan: o.Plan, logger: o.Logger,
		asked: time.Now(), all: make([]copyStatus, of), coming: -1,
	}
}

// know takes a plan that was read.
func (p *reconciler) know(plan Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan, p.asked = plan, time.Now()
}

// planned is the plan as it was read last.
func (p *reconciler) planned() Plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan
}

// run brings copies and lets go of them until the context ends.
func (p *reconciler) run(ctx context.Context) error {
	defer p.work.Wait()
	return every(ctx, reconcileEvery, func() { p.look(ctx) })
}

// can are the nodes that may have copies: those that take part and are not drained, and were heard
// of within some time.
func (p *reconciler) can(plan *Plan) (list []string) {
	heard, since := map[string]time.Time{}, p.members.steady()
	for _, name := range plan.Nodes {
		heard[name] = since
	}
	for _, m := range p.members.list() {
		if m.unheard {
			continue // it may be there all the same, for some time, if it takes part
		}
		if heard[m.Node] = m.heard; since.After(m.heard) {
			heard[m.Node] = since
		}
	}
	heard[p.node] = time.Now()
	for name, at := range heard {
		if time.Since(at) < p.after && !slices.Contains(plan.Drained, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// look takes the next step with each copy.
func (p *reconciler) look(ctx context.Context) {
	p.mu.Lock()
	ask := time.Since(p.asked) >= planEvery
	p.mu.Unlock()
	if ask {
		plan, err := readPlan(ctx, p.r)
		if err != nil {
			p.fail(ctx, err)
			return // what is planned is not known; nothing is moved meanwhile
		}
		p.know(plan)
	}
	plan := p.planned()
	if plan.Everywhere() && p.complete() {
		return
	}
	can := p.can(&plan)
	wanted := make([]bool, p.of)
	for k, nodes := range plan.wanted(p.of, can) {
		wanted[k] = slices.Contains(nodes, p.node)
	}
	for k := range p.of {
		if err := p.step(ctx, k, wanted[k], plan.enough(can)); err != nil {
			p.fail(ctx, err)
			return
		}
	}
	p.bring(ctx, wanted)
}

// fail tells once of what keeps copies where they are.
func (p *reconciler) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.problem != err.Error() {
		p.logger.Warn("copies stay where they are for now", "error", err)
	}
	p.problem = err.Error()
}

// complete reports whether every partition is here, and none is to leave.
func (p *reconciler) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.all {
		if p.copies.CopyState(k) != copystate.Here || !p.all[k].leaving.IsZero() {
			return false
		}
	}
	return true
}

// step takes the next step with the copy of a partition that is here, and wanted here or not: it
// leaves if so many others are good.
func (p *reconciler) step(ctx context.Context, k int, wanted bool, others int) error {
	p.mu.Lock()
	x := p.all[k]
	p.mu.Unlock()
	is := p.copies.CopyState(k)
	switch {
	case is == copystate.Absent:
		x = copyStatus{again: x.again, stuck: x.stuck}
	case wanted:
		x.leaving, x.stuck = time.Time{}, "" // it may be wanted again before it has gone
		if !x.vouched && is == copystate.Here && p.keepsUp(k) {
			if err := vouch(ctx, p.r, k, p.node); err != nil {
				return err
			}
			x.vouched = true
		}
	case is == copystate.Arriving: // nobody counts on it
		if err := p.copies.DropCopy(k); err != nil {
			return err
		}
	case x.leaving.IsZero() && p.leavesOne(), !x.leaving.IsZero() && time.Since(x.leaving) < leaveAfter:
	default: // the second time, too: this process may have stood still in between
		err := letGo(ctx, p.r, k, p.node, others, p.goodAt(k))
		if errors.Is(err, errNeeded) {
			x.leaving, x.stuck = time.Time{}, "it leaves when enough others have copies that serve and are the same"
			break
		}
		if err != nil { // it may be off the record all the same
			p.unvouched(k)
			return err
		}
		if x.leaving.IsZero() {
			x = copyStatus{leaving: time.Now()}
			p.logger.Info("a copy of the state leaves: others have it", "partition", k)
			break
		}
		if err := p.copies.DropCopy(k); err != nil {
			return err
		}
		x = copyStatus{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[k], p.problem = x, ""
	return nil
}

func (p *reconciler) unvouched(k int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[k].vouched = false
}

// keepsUp reports whether a copy here serves, and is not far behind.
func (p *reconciler) keepsUp(k int) bool {
	if !p.copies.Serves(k, 0) {
		return false
	}
	c := copyBeat{Applied: p.copies.Folded()[k]}
	return !c.behind(p.members.furthest(k))
}

// leavesOne reports whether a copy is leaving: there is one at a time.
func (p *reconciler) leavesOne() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.all, func(x copyStatus) bool { return !x.leaving.IsZero() })
}

// goodAt tells whose copies of a partition are as good as the one here: they serve, keep up, and
// were the same at an entry.
func (p *reconciler) goodAt(k int) func(node string) bool {
	good, furthest := map[string]bool{}, p.members.furthest(k)
	for _, m := range p.members.list() {
		c := m.copy(k)
		good[m.Node] = m.Node != p.node && c != nil && c.serves() && !m.silent() && m.State == StateServing &&
			!c.behind(furthest) && p.agrees(k, &m)
	}
	return func(node string) bool { return good[node] }
}

// bring begins a copy that is wanted here, unless one is arriving: those first that the fewest
// others have.
func (p *reconciler) bring(ctx context.Context, wanted []bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, fewest := -1, 0
	for k := range p.all {
		is := p.copies.CopyState(k)
		if is == copystate.Here || !wanted[k] {
			continue
		}
		if is == copystate.Arriving { // or has failed on the way
			next, fewest = k, -1
		}
		if others := p.others(k); fewest >= 0 && (next < 0 || others < fewest) && time.Now().After(p.all[k].again) {
			next, fewest = k, others
		}
	}
	if next < 0 || p.coming >= 0 || time.Now().Before(p.all[next].again) {
		return
	}
	p.coming = next
	p.all[next].again = time.Now().Add(retryAfter)
	p.work.Go(func() {
		err := p.begin(ctx, next)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.coming = -1
		if p.all[next].stuck = ""; err != nil && ctx.Err() == nil {
			p.all[next].stuck = err.Error()
			p.logger.Warn("a copy of the state that is wanted here could not be begun; it is tried again", "partition", next, "error", err)
		}
	})
}

// others is how many other nodes have a copy that serves.
func (p *reconciler) others(k int) (count int) {
	for _, m := range p.members.list() {
		if c := m.copy(k); m.Node != p.node && c != nil && c.serves() && !m.silent() {
			count++
		}
	}
	return count
}

// begin brings a copy here. That the bucket takes what this node needs of the log shows that it is
// not cut off from the others.
func (p *reconciler) begin(ctx context.Context, k int) error {
	if err := p.keepFloor(ctx); err != nil {
		return err
	}
	return p.copies.AddCopy(ctx, k)
}

// now is what is being done about a partition's copy, for the beat, and what is in the way of that.
func (p *reconciler) now(k int) (phase, stuck string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := &p.all[k]
	switch is := p.copies.CopyState(k); {
	case is == copystate.Arriving || p.coming == k:
		return phaseArriving, x.stuck
	case is == copystate.Absent:
		return phaseAbsent, x.stuck
	case !x.leaving.IsZero():
		return phaseLeaving, ""
	}
	return "", x.stuck
}

// needs reports whether this node needs a partition's entries: it has a copy, or is to have one in
// a moment.
func (p *reconciler) needs(k int) bool {
	phase, _ := p.now(k)
	return phase != phaseAbsent
}
