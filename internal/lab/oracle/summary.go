package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
)

// item is an item of an author's summary: a message of theirs or, if there is none, a single chat
// that their peer has read.
type item struct {
	message   *message
	chat      *conversation
	number    int // the item was the author's number-th to be put at the end
	lastEntry uint64
}

// summary is what an author has missed.
type summary struct {
	items   []*item // in list order
	put     int     // how many items were put at the end
	author  witness
	devices []*witness // the known ones, those named longest ago first
}

// witness is who acknowledges: a device, or the author on whichever.
type witness struct {
	device      string
	seen        uint64
	dropped     int // how many items were pushed out and not acknowledged, the last by the entry
	lastDropped uint64
	named       int64 // when it was named last
}

// summaryOf is an author's summary.
func (a *app) summaryOf(author string) *summary {
	if a.summaries[author] == nil {
		a.summaries[author] = &summary{}
	}
	return a.summaries[author]
}

// The summary: what becomes an item goes to the end of the list, or keeps its place.
func (m *Model) summarize(a *app, author string, it item) {
	if m.quiet {
		return
	}
	s := a.summaryOf(author)
	it.lastEntry = m.sequence
	for i, x := range s.items {
		if x.message != it.message || x.chat != it.chat {
			continue
		}
		if s.put-x.number < m.limits.MaxSummaryItems/2 && x.lastEntry > s.author.seen {
			x.lastEntry = m.sequence
			return
		}
		s.items = slices.Delete(s.items, i, i+1)
		break
	}
	s.put++
	it.number = s.put
	s.items = append(s.items, &it)
	if len(s.items) > m.limits.MaxSummaryItems {
		for _, w := range append(slices.Clone(s.devices), &s.author) {
			if s.items[0].lastEntry > w.seen {
				w.dropped++
				w.lastDropped = m.sequence
			}
		}
		s.items = s.items[1:]
	}
}

// removeItems removes an author's items that fit and reports whether there were any.
func (a *app) removeItems(author string, fits func(*item) bool) bool {
	s := a.summaryOf(author)
	before := len(s.items)
	s.items = slices.DeleteFunc(s.items, fits)
	return len(s.items) < before
}

// The summary: statistic.seen
func (m *Model) statisticSeen(a *app, ev events.Event) events.Outcome {
	s := a.summaryOf(ev.User)
	if ev.Device != "" {
		m.seenOn(a, s, ev)
		return events.OutcomeApplied
	}
	outcome := events.OutcomeDuplicate
	if a.removeItems(ev.User, func(x *item) bool { return x.lastEntry <= ev.Upto }) {
		outcome = events.OutcomeApplied
	}
	for _, w := range append(slices.Clone(s.devices), &s.author) {
		if w.acknowledgeDropped(ev.Upto) {
			outcome = events.OutcomeApplied
		}
	}
	return outcome
}

func (w *witness) acknowledgeDropped(upto uint64) bool {
	if w.dropped == 0 || w.lastDropped > upto {
		return false
	}
	w.dropped = 0
	return true
}

// Devices
func (m *Model) seenOn(a *app, s *summary, ev events.Event) {
	s.devices = slices.DeleteFunc(s.devices, func(w *witness) bool {
		w.named = min(w.named, m.time.t)
		return w.device != ev.Device && m.time.t-w.named > events.DeviceFor.Milliseconds()
	})
	d := s.device(ev.Device)
	if d == nil {
		d = new(witness)
		*d = s.author
		d.device = ev.Device
	} else {
		s.devices = slices.DeleteFunc(s.devices, func(w *witness) bool { return w == d })
	}
	d.named = m.time.t
	s.devices = append(s.devices, d)
	if len(s.devices) > m.limits.MaxDevices {
		s.devices = s.devices[1:]
	}
	upto := min(ev.Upto, m.sequence-1)
	for _, w := range []*witness{d, &s.author} {
		w.seen = max(w.seen, upto)
		w.acknowledgeDropped(upto)
	}
	a.removeItems(ev.User, func(x *item) bool {
		return !slices.ContainsFunc(s.devices, func(w *witness) bool { return x.lastEntry > w.seen })
	})
}

// device is a known device, or nil.
func (s *summary) device(name string) *witness {
	for _, w := range s.devices {
		if w.device == name {
			return w
		}
	}
	return nil
}
