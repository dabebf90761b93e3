package projections_test

import (
	"errors"
	"slices"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// state is a backing that checkpoints are committed to.
type state interface {
	projections.Backing
	commit(c *projections.Checkpoint) error
	dump() string
}

// fold is a partition that can be stopped and started again, as the projector does it.
type fold struct {
	t        *rapid.T
	id       int
	state    state
	part     *projections.Partition
	options  projections.Options
	log      []history.Entry // that were folded
	captured *projections.Checkpoint
	batch    events.Batch
}

// smallLevels are those of [history.SmallLevels].
var smallLevels = []projections.Level{
	func(l *projections.Limits) { l.Members = 3 },
	func(l *projections.Limits) { l.Members, l.ReadsAhead = 4, 1 },
}

func newFold(t *rapid.T, s state, cacheBytes int) *fold {
	limits := history.SmallLimits()
	f := &fold{t: t, state: s, options: projections.Options{
		CacheBytes: cacheBytes,
		Limits: projections.Limits{
			Members: limits.MaxGroupMembers, EverMembers: limits.MaxEverMembers, Parked: limits.MaxParked,
			SummaryItems: limits.MaxSummaryItems, Rejections: limits.MaxRejections,
			EventIDs: limits.MaxEventIDs, CachedItems: 1, ReadsAhead: limits.MaxReadsAhead, Devices: limits.MaxDevices, Labels: limits.MaxLabels, Alerts: limits.MaxAlerts, AlertParts: limits.MaxAlertParts,
			ColdMembers: 2, ColdBytes: 16,
		},
		Levels: smallLevels,
	}}
	f.open()
	return f
}

// be has the fold be that of another partition than 0. It is called before the first entry.
func (f *fold) be(id int) {
	f.id = id
	f.open()
}

// followed folds a log without interruption, and again with next to no cache and with commits and
// crashes in between, as the fold of an external store's sink does: take is called before each
// commit, since what is committed is not folded again, and at the end.
func followed(t *rapid.T, log history.Log, option func(*projections.Options), take func(f *fold)) (straight, f *fold) {
	straight, f = newFold(t, memory{}, 0), newFold(t, memory{}, rapid.IntRange(1, 6000).Draw(t, "cache"))
	for _, x := range []*fold{straight, f} {
		option(&x.options)
		x.open()
	}
	for _, e := range log {
		straight.apply(e)
		f.apply(e)
		switch rapid.IntRange(0, 9).Draw(t, "then") {
		case 0, 1, 2:
			take(f)
		case 3:
			take(f)
			f.commit()
		case 4:
			f.crash()
		}
	}
	take(f)
	return straight, f
}

// cacheIsBounded checks that the cache counts what it contains, and contains no more than it may
// once all is committed.
func (f *fold) cacheIsBounded() {
	f.t.Helper()
	if counted, actual := f.part.CacheSize(); counted != actual || actual > f.options.CacheBytes {
		f.t.Fatalf("counted %d bytes, cached %d, of %d", counted, actual, f.options.CacheBytes)
	}
}

// open opens the state as it was committed last.
func (f *fold) open() {
	part, err := projections.Open(f.id, f.state, f.options)
	if err != nil {
		f.t.Fatalf("open: %v", err)
	}
	f.part, f.captured = part, nil
	f.split()
}

// errCrash ends a split in the middle.
var errCrash = errors.New("crash")

// split splits the partition if that is due: in the straight fold at once, in others with crashes.
func (f *fold) split() {
	if !f.part.SplitDue() {
		return
	}
	if _, err := f.part.Apply(projections.Decoded{Sequence: 1 << 60}); !errors.Is(err, projections.ErrSplitDue) {
		f.t.Fatalf("an entry before the split: %v", err)
	}
	f.commitAll()
	crash := -1
	if f.options.CacheBytes > 0 {
		crash = rapid.IntRange(-1, 6).Draw(f.t, "split ends")
	}
	err := f.part.Split(func(c *projections.Checkpoint) error {
		if crash--; crash == -1 {
			return errCrash
		}
		return f.state.commit(c)
	}, nil)
	if errors.Is(err, errCrash) {
		f.open()
		return
	}
	if err != nil {
		f.t.Fatalf("split: %v", err)
	}
	if f.part, err = f.part.Reopen(); err != nil {
		f.t.Fatalf("open after the split: %v", err)
	}
}

// apply folds an entry and remembers it in case it has to be folded again.
func (f *fold) apply(e history.Entry) []events.Outcome {
	f.log = append(f.log, e)
	return f.fold(e)
}

func (f *fold) fold(e history.Entry) []events.Outcome {
	f.batch.SetEvents(e.Events)
	out, err := f.part.Apply(projections.Decoded{
		Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence * 31, Leaf: leafOf(e.Sequence), Batch: &f.batch, Poison: e.Poison,
	})
	if err != nil {
		f.t.Fatalf("apply %d: %v", e.Sequence, err)
	}
	out = slices.Clone(out)
	f.split()
	return out
}

// capture begins a commit unless one has begun; the fold may go on before it is finished.
func (f *fold) capture() {
	if f.captured != nil {
		return
	}
	c, err := f.part.Capture()
	if err != nil {
		f.t.Fatalf("capture: %v", err)
	}
	f.captured = c
}

// commit finishes a commit that has begun, or a whole one.
func (f *fold) commit() {
	f.capture()
	if err := f.state.commit(f.captured); err != nil {
		f.t.Fatalf("commit: %v", err)
	}
	f.part.Committed(f.captured)
	f.captured = nil
}

// commitAll leaves nothing uncommitted.
func (f *fold) commitAll() {
	f.commit()
	f.commit()
}

// crash forgets everything that was not committed, and folds it again.
func (f *fold) crash() {
	f.open()
	position, _ := f.part.Position()
	for _, e := range f.log {
		if e.Sequence > position {
			f.fold(e)
		}
	}
}

// disturb stops, restarts and queries the fold.
func (f *fold) disturb(how int, model *oracle.Model) {
	switch how {
	case 0:
		f.commit()
	case 1:
		f.crash()
	case 2:
		f.commit()
		f.crash()
	case 3:
		// Queries must not change anything.
		compareWithModel(f.t, f.part, model)
	case 4:
		f.capture()
	case 5:
		// Nor find less while a commit is under way.
		f.capture()
		compareWithModel(f.t, f.part, model)
	}
}

// disturbances are numbers for disturb; half of them do nothing.
func disturbances(t *rapid.T, n int) []int {
	return rapid.SliceOfN(rapid.IntRange(0, 11), n, n).Draw(t, "disturb")
}
