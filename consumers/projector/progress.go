package projector

import "sync"

// Progress of a rebuild, all partitions together.
type Progress struct {
	// Phase is "replay", "compare" or "catch up".
	Phase string `json:"phase"`
	// Entries is how many entries of Total are folded, Events how many events were in them.
	Entries uint64 `json:"entries"`
	Total   uint64 `json:"total"`
	Events  uint64 `json:"events"`
}

// Phases of a rebuild.
const (
	phaseReplay  = "replay"
	phaseCompare = "compare"
	phaseCatchUp = "catch up"
)

// phaseOrder tells which of two phases comes first.
var phaseOrder = map[string]int{phaseReplay: 0, phaseCompare: 1, phaseCatchUp: 2}

// overallProgress adds up the partitions' progress and reports the sum.
type overallProgress struct {
	mu         sync.Mutex
	report     func(Progress) // nil for nobody
	partitions map[int]Progress
}

func newOverallProgress(of []*worker, report func(Progress)) *overallProgress {
	o := &overallProgress{report: report, partitions: map[int]Progress{}}
	for _, w := range of {
		o.partitions[w.partition] = Progress{Phase: phaseReplay}
	}
	return o
}

func (o *overallProgress) set(partition int, p Progress) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partitions[partition] = p
	if o.report != nil {
		o.report(o.sumLocked())
	}
}

func (o *overallProgress) sum() Progress {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sumLocked()
}

// sumLocked names the phase of the partition that is furthest behind.
func (o *overallProgress) sumLocked() Progress {
	sum := Progress{Phase: phaseCatchUp}
	for _, p := range o.partitions {
		sum.Entries, sum.Total, sum.Events = sum.Entries+p.Entries, sum.Total+p.Total, sum.Events+p.Events
		if phaseOrder[p.Phase] < phaseOrder[sum.Phase] {
			sum.Phase = p.Phase
		}
	}
	return sum
}
