package dst

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// mapped is where NATS maps the subject of an outside producer
// to, receipts.v1.<partition>.<kind>.<org>.<app>.
func mapped(in string, partition int) string {
	words := strings.Split(in, ".")
	return strings.Join([]string{"receipts.v1", strconv.Itoa(partition), words[5], words[2], words[3]}, ".")
}

func (w *world) resetModel() {
	w.model = oracle.New(0)
	w.split.model = nil
}

// modelTo has the model decide what the log holds, up to an entry.
func (w *world) modelTo(at uint64) {
	if w.model.Sequence() > at {
		w.resetModel()
	}
	entries := w.broker.entriesOf(0)
	for _, e := range entries[min(w.model.Sequence(), uint64(len(entries))):min(at, uint64(len(entries)))] {
		evs := w.decide(w.model, e)
		for _, s := range w.sessions {
			s.follow(evs)
		}
	}
}

// decide has a model decide an entry, and returns its events.
func (w *world) decide(m *oracle.Model, e entry) []events.Event {
	evs, err := decode(e, w.partitionsAt(e.Sequence))
	if err != nil {
		m.Poison(e.Sequence, e.Time.UnixMilli(), err.Error())
		return nil
	}
	m.Apply(e.Sequence, e.Time.UnixMilli(), evs)
	return evs
}

// decode returns the events of an entry of a log that had so many partitions then.
func decode(e entry, partitions int) ([]events.Event, error) {
	var batch events.Batch // whose memory the events share, and which the model keeps
	if err := events.DecodeEntry(e.Subject, e.Data, e.id, partitions, &batch); err != nil {
		return nil, err
	}
	list := make([]events.Event, batch.Len())
	for i := range list {
		batch.Event(i, &list[i])
	}
	return list, nil
}

// compare makes every query and compares the answers with the models'.
func (w *world) compare() {
	p := w.fold
	all := oracle.Cluster{Partitions: []*oracle.Model{w.model}}
	if m := w.forked(); m != nil {
		all.Partitions = append(all.Partitions, m)
	}
	poisoned := 0
	for k, m := range all.Partitions {
		for _, app := range m.Apps() {
			settings, revision, _ := m.Settings(app)
			got, gotRevision, ok := p.SettingsAt(k, app)
			if !ok || !reflect.DeepEqual(got, settings) || gotRevision != revision {
				w.fail("settings of %s: %+v, the model has %+v", app, got, settings)
			}
			w.compareMessages(m, app)
			for _, user := range m.Users(app) {
				conversations, err := p.Conversations(app, user)
				w.same("conversations of "+user, err, conversations, all.Conversations(app, user))
				s, _, err := p.SummaryAt(k, app, user, "")
				w.same("summary of "+user, err, s.Items, m.Summary(app, user))
			}
		}
		poisoned += len(m.Poisoned())
	}
	if total, _ := p.Poison(); total != uint64(poisoned) {
		w.fail("%d poison entries, the model has %d", total, poisoned)
	}
}

func (w *world) compareMessages(m *oracle.Model, app string) {
	p := w.fold
	for _, want := range m.AllMessages(app) {
		name := oracle.ConversationOf(app, want)
		got, err := p.MessageIn(name, want.ID, "")
		if err != nil && w.unreadable() {
			continue
		}
		if err != nil || got.Message != want {
			w.fail("message %s: %+v, %v; the model has %+v", want.ID, got, err, want)
		}
		if want.CountsOnly {
			continue // there are no lists
		}
		readers, err := p.Readers(name, want.ID, 0, 1000)
		w.same("readers of "+want.ID, err, readers.Readers, m.Readers(name, want.ID))
		others, err := p.NonReaders(name, want.ID, 0, 1000)
		w.same("nonreaders of "+want.ID, err, others.Users, m.NonReaders(name, want.ID))
	}
}

// same compares two lists; a nil one is equal to an empty one.
func (w *world) same(what string, err error, got, want any) {
	if err != nil && w.unreadable() {
		return
	}
	if err == nil && reflect.DeepEqual(got, want) {
		return
	}
	a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want)
	if err != nil || a != b {
		w.fail("%s: %s, %v; the model has %s", what, a, err, b)
	}
}

// unreadable reports whether the state may fail to be read: an error is an answer too.
func (w *world) unreadable() bool { return w.disk.failed() || w.flipped }

// told is what is said of a message to its author.
type told struct{ group, message string }

// counts are the read counts of an author's messages in groups.
func (w *world) counts(app, user string) map[told]int {
	counts := map[told]int{}
	for _, m := range w.model.AllMessages(app) {
		if m.From == user && m.Group != "" && !m.Recalled {
			counts[told{m.Group, m.ID}] = m.Read
		}
	}
	return counts
}

// verify folds the log anew and compares, as receiptctl verify and replay do.
func (w *world) verify(change bool) {
	w.broker.calm() // a switch holds the fold, and must not have to wait for a time to pass
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := w.fold.Rebuild(ctx, projector.RebuildOptions{Switch: change})
	if w.isCrashed() {
		return
	}
	switch {
	case err != nil && !w.unreadable():
		w.fail("no rebuild: %v", err)
	case err != nil:
		w.tracef("no rebuild: its disk failed")
		return
	case !r.Equal:
		w.fail("at entry %d the state is not a fold of the log: %+v", r.Partitions[0].Position, r.Partitions[0].Difference)
	}
	w.tracef("verified at %d, switch %t: %s", r.Partitions[0].Position, change, r.Partitions[0].Live)
}

// finish has all come to rest and checks what must hold in the end.
func (w *world) finish() {
	w.broker.calm()
	w.disk.heal()
	for try := 0; !w.rests(); try++ {
		if try == 40 {
			at, _ := w.position()
			w.fail("no rest: state at %d, log at %d", at, len(w.broker.entriesOf(0)))
		}
		if try%10 == 5 {
			w.broker.renew()
		}
		w.sleep(1100 * time.Millisecond)
	}
	w.ask()
	for _, s := range w.sessions {
		w.endSession(s)
	}
	w.sessions = nil
	w.ask()
	w.verify(false)
	w.ledger()
	w.tracef("%d entries, %d submits", len(w.broker.entriesOf(0)), len(w.submits))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.stop(ctx); err != nil && !w.unreadable() {
		w.fail("the stop failed: %v", err)
	}
	w.broker.die()
	synctest.Wait()
}

// rests reports whether everything is answered and folded.
func (w *world) rests() bool {
	w.settle()
	for _, s := range w.submits {
		if s.fate == underWay {
			return false
		}
	}
	at, ok := w.position()
	return ok && at == uint64(len(w.broker.entriesOf(0))) && w.forkRests()
}

// ledger compares what clients were told with what the log holds.
func (w *world) ledger() {
	there := map[int64][]eventlog.Location{}
	var order int64
	for _, e := range w.broker.entriesOf(0) {
		evs, err := decode(e, w.partitionsAt(e.Sequence))
		if err != nil {
			continue
		}
		for i := range evs {
			tag := evs[i].Time
			if tag == 0 {
				continue // of an outside producer
			}
			if len(there[tag]) == 0 && tag < order {
				w.fail("event %d is in the log after event %d", tag, order)
			}
			order = max(order, tag)
			there[tag] = append(there[tag], eventlog.Location{Sequence: e.Sequence, Index: i})
		}
	}
	for _, s := range w.submits {
		for i := range s.events {
			tag := s.events[i].Time
			at := there[tag]
			switch {
			case s.fate == acknowledged && !slices.Equal(at, s.at[i:i+1]):
				w.fail("event %d was stored at %+v, and is at %+v", tag, s.at[i], at)
			case s.fate == refused && len(at) > 0:
				w.fail("event %d was refused, and is at %+v", tag, at)
			case len(at) > 1:
				w.fail("event %d is there more than once, at %+v", tag, at)
			}
		}
	}
}
