package oracle

import (
	"fmt"

	"github.com/receiptd/receiptd/events"
)

// Model is the state of one partition.
type Model struct {
	partition int
	limits    Limits
	levels    []func(*Limits) // what each level changes, from 2 on
	level     uint64
	of        uint64 // how many partitions there are by the last log.repartitioned; 0 = none was
	halved    bool   // by the entry being decided
	time      clock
	moment    int64  // of the event being decided: T, or what it states
	quiet     bool   // nothing of it is told
	sequence  uint64 // of the entry being decided, or of the last one
	apps      map[string]*app
	poisoned  []Poisoned
	known     []known // in the order of their decision
}

// Poisoned is an entry that could not be decoded.
type Poisoned struct {
	Sequence uint64
	At       int64 // the entry's own time, Unix milliseconds
	Reason   string
}

// New is the model of a partition with the default limits.
func New(partition int) *Model { return NewWithLimits(partition, DefaultLimits()) }

// NewWithLimits is the model of a partition with other limits.
func NewWithLimits(partition int, limits Limits) *Model {
	return &Model{
		partition: partition, limits: limits, level: 1, apps: map[string]*app{}, levels: []func(*Limits){func(*Limits) {}},
	}
}

// SetLevels has the model know levels of the rules above 1, each of which changes the limits of the
// one before it. It is called before the first entry.
func (m *Model) SetLevels(levels []func(*Limits)) { m.levels = levels }

// Level is the level of the rules that decides the next event.
func (m *Model) Level() uint64 { return m.level }

// Apply decides the events of one log entry, whose broker time at is in Unix milliseconds, and
// returns the outcome of each. The model keeps strings of the events. Entries come once each and in
// order: a sequence that is not larger than the last one panics.
func (m *Model) Apply(sequence uint64, at int64, evs []events.Event) []events.Outcome {
	m.begin(sequence, at)
	outcomes := make([]events.Outcome, len(evs))
	for i, ev := range evs {
		outcomes[i] = m.decideOnce(ev, position{sequence, i})
	}
	if m.halved {
		m.halved = false
		m.halve()
	}
	return outcomes
}

// Poison records an entry that could not be decoded.
func (m *Model) Poison(sequence uint64, at int64, reason string) {
	m.begin(sequence, at)
	m.poisoned = append(m.poisoned, Poisoned{Sequence: sequence, At: at, Reason: reason})
}

// begin is what happens before the events of an entry are decided.
func (m *Model) begin(sequence uint64, at int64) {
	if sequence <= m.sequence {
		panic(fmt.Sprintf("oracle: entry %d after entry %d", sequence, m.sequence))
	}
	m.sequence = sequence
	before := m.time.t
	defer func() { m.judge(before) }()
	if m.time.tick(at) {
		for _, a := range m.apps {
			for i := range a.parked {
				a.parked[i].arrival = min(a.parked[i].arrival, m.time.t)
			}
		}
		for i := range m.known {
			m.known[i].at = min(m.known[i].at, m.time.t)
		}
	}
	for _, a := range m.apps {
		for len(a.parked) > 0 && m.time.t-a.parked[0].arrival > m.limits.ParkedFor.Milliseconds() {
			m.expireOldest(a)
		}
	}
}
