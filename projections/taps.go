package projections

// taps are what consumers take from a fold beside its state. Each is filled only if somebody takes
// it, and lies in memory until it is taken.
type taps struct {
	// online is asked who would be told; nil during a replay. TakeEffects takes what they are told.
	online  func(app, user string) bool
	effects []Effect

	// What TakeFacts and TakeMessages take. The cache does not evict the messages: being in the
	// list counts as a reference.
	trackFacts bool
	facts      []Fact
	messages   []*message

	// What TakeCohorts takes. Being in the list counts as a reference here, too.
	trackCohorts bool
	cohorts      []*cohort
	// cohortLayout is the version of the rollup that all of the state was folded with; 0 = it lacks
	// the totals of days.
	cohortLayout uint64
}

func newTaps(o *Options) taps {
	t := taps{online: o.Online, trackFacts: o.TrackFacts, trackCohorts: o.TrackCohorts}
	if t.trackCohorts {
		t.cohortLayout = cohortLayout
	}
	return t
}

// addMessage has TakeMessages return a message that changed.
func (t *taps) addMessage(m *message) {
	if m.refs == 0 { // nothing else refers to messages
		m.refs = 1
		t.messages = append(t.messages, m)
	}
}

// addCohort has TakeCohorts return a cohort that is about to change, and its totals.
func (t *taps) addCohort(x *cohort) {
	if x.tapped {
		return
	}
	for y := range x.withTotals {
		if !y.tapped {
			y.tapped = true
			y.refs++
			t.cohorts = append(t.cohorts, y)
		}
	}
}

// MakeEffects has effects made from now on, for users of whom online is true; nil makes none. It is
// called when a replayed state becomes the live one.
func (p *Partition) MakeEffects(online func(app, user string) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taps.online = online
}
