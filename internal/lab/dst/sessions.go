package dst

import (
	"slices"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
)

// session is an author who is online.
type session struct {
	app, user string
	sub       *notify.Subscription
	began     map[told]int // counts at the beginning
	pushed    map[told]int // the latest that was pushed
	// unsettled: whose reads the author is shown may have changed meanwhile.
	unsettled bool
}

// session begins one for an author, or looks at one.
func (w *world) session() {
	if !w.ready() {
		return
	}
	if len(w.sessions) > 0 && w.random.IntN(2) == 0 {
		i := w.random.IntN(len(w.sessions))
		s := w.sessions[i]
		w.endSession(s)
		w.sessions = slices.Delete(w.sessions, i, i+1)
		return
	}
	at, ok := w.position()
	if !ok {
		return
	}
	w.modelTo(at)
	apps := w.model.Apps()
	if len(apps) == 0 || len(w.sessions) > 3 {
		return
	}
	app := apps[w.random.IntN(len(apps))]
	sent := w.model.AllMessages(app)
	if len(sent) == 0 {
		return
	}
	w.beginSession(app, sent[w.random.IntN(len(sent))].From)
}

// follow notes what events change of whose reads the author is shown, and what nobody is told of:
// imported history, and what has waited for it.
func (s *session) follow(evs []events.Event) {
	for _, e := range evs {
		if e.App == s.app && (e.Imported || e.Kind == events.AppConfigured || e.Kind == events.UserConfigured && e.User == s.user) {
			s.unsettled = true
		}
	}
}

func (w *world) beginSession(app, user string) {
	s := &session{app: app, user: user, sub: w.hub.Subscribe(app, user), pushed: map[told]int{}}
	summary, upto, err := w.fold.SummaryAt(0, app, user, "")
	if err != nil && w.unreadable() {
		s.sub.Close()
		return
	}
	w.modelTo(upto)
	w.same("summary at the login of "+user, err, summary.Items, w.model.Summary(app, user))
	s.began = w.counts(app, user)
	w.sessions = append(w.sessions, s)
	w.tracef("%s %s logs in at %d with %d items", app, user, upto, len(summary.Items))
}

// endSession looks whether the author was told of everything that happened meanwhile.
func (w *world) endSession(s *session) {
	w.sleep(60 * time.Millisecond)
	var at uint64
	for {
		if w.isCrashed() {
			return
		}
		var ok bool
		if at, ok = w.position(); !ok {
			s.sub.Close()
			return // it is told at the next login
		}
		push, wait, err := s.sub.Poll()
		if err != nil {
			w.fail("pushes of %s: %v", s.user, err)
		}
		if len(push.Notifications) == 0 && wait == 0 {
			break
		}
		w.sleep(wait) // what was folded just now is told a little later
		for _, n := range push.Notifications {
			if n.Kind != events.MessageRead || n.Group == "" {
				continue
			}
			k := told{n.Group, n.Message}
			if n.Count < s.pushed[k] {
				w.fail("%s is told %d readers of %v after %d", s.user, n.Count, k, s.pushed[k])
			}
			s.pushed[k] = n.Count
		}
	}
	w.modelTo(at)
	for k, count := range w.counts(s.app, s.user) {
		if s.unsettled || w.model.SeesNobody(events.Conversation{App: s.app, Group: k.group}, s.user) {
			continue
		}
		if count != s.began[k] && s.pushed[k] != count {
			w.fail("%s %s was told %d readers of %v, there are %d, and were %d at the login", s.app, s.user, s.pushed[k], k, count, s.began[k])
		}
	}
	s.sub.Close()
	w.tracef("%s %s logs out at %d, told of %d", s.app, s.user, at, len(s.pushed))
	if w.random.IntN(2) == 0 {
		w.script = append([]events.Event{{Kind: events.StatisticSeen, App: s.app, User: s.user, Upto: at}}, w.script...)
	}
}
