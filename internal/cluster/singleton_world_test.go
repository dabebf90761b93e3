package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/internal/lab/simnet"
)

// The world of a singleton: nodes of which one at a time is to do some work, in steps that take
// effect outside, late perhaps, and perhaps without an answer; a register as in that of placement,
// which may be old, too; and machines that are killed, stand still for any time, and are kept from
// the work.

const (
	workName  = "work"
	workParts = 2
	workEvery = time.Second
	// workSlow is how long a step is on its way at the longest: it may take effect long after the
	// process that sent it is gone.
	workSlow = 4 * time.Second
	// workTries is how often the register is asked before the work counts as failed.
	workTries = 30
)

type singletonWorld struct {
	t        *testing.T
	net      *simnet.Network
	register *simRegister
	workers  map[string]*worker

	mu sync.Mutex
	r  *rand.Rand
	// done are the steps of each part that took effect, and by is whose the last one was.
	done [workParts][]step
	by   string
	// twice is how many steps came that had taken effect before.
	twice  int
	fenced int
	owners map[uint64]owner // of each term
	terms  [workParts]uint64
}

// step is one of the work, and what is noted before it.
type step struct {
	Number int    `json:"number"`
	Text   string `json:"text"`
}

// worker is a machine, and the process on it.
type worker struct {
	*simnet.Node
	w      *singletonWorld
	life   int
	cancel context.CancelFunc // nil while there is no process
	ended  sync.WaitGroup
	// changed is when it was killed, paused or cut off last, or came back.
	changed time.Time // under the world's mutex

	// unable keeps it from the work, which it knows, and fails does so when it is at it.
	unable, fails bool // under the world's mutex
}

func newSingletonWorld(t *testing.T, seed uint64, names []string) *singletonWorld {
	w := &singletonWorld{t: t, workers: map[string]*worker{}, owners: map[uint64]owner{}, r: rand.New(rand.NewPCG(seed, 47))}
	w.net = simnet.New(rand.New(rand.NewPCG(seed, 48)), simDelay, ErrNobody)
	w.register = newSimRegister(w.random)
	w.register.changed = w.written
	for _, name := range names {
		w.workers[name] = &worker{Node: w.net.Add(name), w: w}
	}
	for _, name := range names {
		w.workers[name].start()
	}
	return w
}

func (w *singletonWorld) random(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

// written holds that a term is one process's, and that no part goes back to an earlier one.
func (w *singletonWorld) written(key string, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name, number, isPart := strings.Cut(key, ".")
	if isPart {
		p, err := parsePart(value)
		k := int(number[0] - '0')
		if err != nil || name != workName || p.Term < w.terms[k] {
			w.t.Errorf("%s: %s was written after term %d: %v", key, value, w.terms[k], err)
		}
		w.terms[k] = p.Term
		return
	}
	c, err := parseClaim(value)
	if before, is := w.owners[c.Term]; err != nil || is && before != c.owner && c.owner != (owner{}) {
		w.t.Errorf("%s: %s was claimed, and term %d is that of %v: %v", key, value, c.Term, before, err)
	}
	if c.owner != (owner{}) {
		w.owners[c.Term] = c.owner
	}
}

// holder is the node that has the right; nil if none has.
func (w *singletonWorld) holder() *worker {
	w.register.mu.Lock()
	defer w.register.mu.Unlock()
	values := w.register.keys[workName]
	if len(values) == 0 {
		return nil
	}
	c, err := parseClaim(values[len(values)-1].text)
	if err != nil {
		w.t.Error(err)
	}
	return w.workers[c.Node]
}

// act is a step that takes effect. One that has done so before, and is the same, is known.
func (w *singletonWorld) act(k int, s step, by string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch done := w.done[k]; {
	case s.Number > len(done)+1:
		w.t.Errorf("part %d: %v of %s is not the next step after %d", k, s, by, len(done))
	case s.Number == len(done)+1:
		w.done[k], w.by = append(done, s), by
	case done[s.Number-1] != s:
		w.t.Errorf("part %d: %v of %s, and %v, have both taken effect", k, s, by, done[s.Number-1])
	default:
		w.twice++
	}
}

// steps is how many steps took effect, and by whom the last one.
func (w *singletonWorld) steps() (count int, by string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.done {
		count += len(w.done[k])
	}
	return count, w.by
}

func (x *worker) start() {
	if x.cancel != nil {
		return
	}
	x.Start()
	x.life++
	life := fmt.Sprint(x.life)
	ctx, cancel := context.WithCancel(context.Background())
	x.cancel = cancel
	x.change()
	work := Singleton{
		Register: &asked{x.w.register, x.Node, ctx}, Name: workName, Node: x.Name(), Life: life, Keep: x.hears,
		First: Settle, Every: workEvery, Able: x.able, Logger: slog.New(slog.DiscardHandler),
		Work: func(ctx context.Context, right *Writer) error { return x.work(ctx, right, life) },
	}
	x.ended.Go(func() { work.Run(ctx) })
}

func (x *worker) change() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.changed = time.Now()
}

// hears reports whether a process of another node was heard of lately, as far as is known: to one
// that stood still all others were silent.
func (x *worker) hears(node, life string) bool {
	y := x.w.workers[node]
	if y == nil {
		return false
	}
	good := y.Runs() && !x.w.net.IsCut(node, x.Name()) && (x.w.net.Loss() == 0 || x.w.random(50) > 0)
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	return fmt.Sprint(y.life) == life && time.Since(x.changed) > beatEvery && (good || time.Since(y.changed) < goneAfter)
}

// kill ends the process. What it has sent may arrive all the same.
func (x *worker) kill() {
	if x.cancel == nil {
		return
	}
	x.change()
	x.Kill()
	x.cancel()
	x.cancel = nil
	x.ended.Wait()
}

func (x *worker) able() error {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.unable {
		return errors.New("unable")
	}
	return nil
}

func (x *worker) set(unable, fails bool) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.unable, x.fails = unable, fails
}

// work begins with the last step of each part that was noted, and goes on from there.
func (x *worker) work(ctx context.Context, right *Writer, life string) error {
	var last [workParts]step
	for k := range last {
		var note []byte
		err := x.tries(ctx, func() (err error) { note, err = right.Read(ctx, k); return err })
		if err == nil && note != nil {
			err = json.Unmarshal(note, &last[k])
		}
		if err == nil && last[k].Number > 0 {
			err = x.send(ctx, k, last[k])
		}
		if err != nil {
			return x.ends(ctx, err)
		}
	}
	for n := 0; ; n++ {
		k := n % workParts
		next := step{last[k].Number + 1, fmt.Sprint(x.Name(), life, ".", right.Term(), ".", n)}
		note, err := json.Marshal(next)
		if err == nil {
			err = x.tries(ctx, func() error { return right.Write(ctx, k, note) })
		}
		if err == nil {
			err = x.send(ctx, k, next)
		}
		if err != nil {
			return x.ends(ctx, err)
		}
		last[k] = next
	}
}

// tries asks the register again and again, as consumers do.
func (x *worker) tries(ctx context.Context, ask func() error) (err error) {
	for range workTries {
		if err = ask(); err == nil || errors.Is(err, ErrFenced) || ctx.Err() != nil {
			break
		}
		time.Sleep(workEvery / 4) // by the clock of the bubble
	}
	return err
}

// ends is what the work comes to: one that was to end has not failed.
func (x *worker) ends(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, ErrFenced) {
		x.w.mu.Lock()
		x.w.fenced++
		x.w.mu.Unlock()
	}
	return err
}

// send has a step take effect, until there is an answer.
func (x *worker) send(ctx context.Context, k int, s step) error {
	for {
		if !x.Awake() || ctx.Err() != nil {
			return errCut
		}
		x.w.mu.Lock()
		fails := x.fails
		x.w.mu.Unlock()
		if fails {
			return errors.New("it fails")
		}
		took := time.Duration(x.w.random(500)) * time.Millisecond
		if x.w.random(10) == 0 {
			took = time.Duration(x.w.random(int(workSlow)))
		}
		answered, lost := make(chan struct{}), x.w.random(20) == 0
		time.AfterFunc(took, func() {
			x.w.act(k, s, x.Name())
			if !lost {
				close(answered)
			}
		})
		select {
		case <-answered:
			return nil
		case <-time.After(workSlow / 2):
		case <-ctx.Done():
			return errCut
		}
	}
}

// pause has the machine stand still, or go on.
func (x *worker) pause(is bool) {
	x.change()
	if is {
		x.Pause()
	} else {
		x.Resume()
	}
}

// cut has the machine be cut off from another one, one way.
func (x *worker) cut(to string, is bool) {
	x.change()
	x.w.net.Cut(x.Name(), to, is)
}

// fault does something to a machine, or to what is between the machines.
func (w *singletonWorld) fault(names []string) {
	x := w.workers[names[w.random(len(names))]]
	if w.random(2) == 0 { // as a rule it is the one at work that matters
		if h := w.holder(); h != nil {
			x = h
		}
	}
	switch w.random(9) {
	case 0, 1:
		x.kill()
	case 2:
		x.start()
	case 3, 4:
		x.pause(!x.Paused())
	case 5:
		w.register.toggleCut(x.Name())
	case 6:
		w.net.SetLoss([]float64{0, 0.05, 0.2}[w.random(3)])
		w.register.set(w.random(2) == 0, w.random(2) == 0)
	case 7:
		to := names[w.random(len(names))]
		x.cut(to, !w.net.IsCut(x.Name(), to))
	case 8:
		x.set(w.random(2) == 0, w.random(2) == 0)
	}
}

// heal has everything run, be able and reach everything.
func (w *singletonWorld) heal() {
	w.register.heal()
	w.net.Heal()
	for _, name := range slices.Sorted(maps.Keys(w.workers)) {
		w.workers[name].set(false, false)
		w.workers[name].start()
	}
}

func (w *singletonWorld) end() {
	for _, name := range slices.Sorted(maps.Keys(w.workers)) {
		w.workers[name].kill()
	}
	time.Sleep(2 * workSlow) // by the clock of the bubble: what is under way arrives
	synctest.Wait()
}
