package day

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/receiptd/receiptd/events"
)

// Plan is a day that is about to happen. It belongs to one goroutine.
type Plan struct {
	options Options
	apps    []*App
	random  *rand.Rand

	messages []*sent // not sent yet
	later    queue   // what follows from those that are
	created  int     // groups, of the list of all
	groups   []*place
	numbered int
	best     *sent
	missed   bool // a message was recalled before most could read it
}

// New plans a day.
func New(o Options) (*Plan, error) {
	switch {
	case o.Apps < 1 || o.Apps > MaxApps:
		return nil, fmt.Errorf("day: %d apps, not 1 to %d", o.Apps, MaxApps)
	case o.Messages < 1 || o.Messages > MaxMessages:
		return nil, fmt.Errorf("day: %d messages, not 1 to %d", o.Messages, MaxMessages)
	}
	p := &Plan{options: o, random: rand.New(rand.NewPCG(o.Seed, 0))}
	for n := range o.Apps {
		a := newApp(n)
		p.apps = append(p.apps, a)
		for _, x := range a.places {
			if x.group != "" {
				p.groups = append(p.groups, x)
			}
		}
	}
	p.messages = messages(o, p.apps, p.random)
	for _, m := range p.messages {
		if m.receipt && p.random.Float64() < 0.01 { // a receipt that overtakes its message
			p.push(m.at-1, m, m.place.people[p.random.IntN(len(m.place.people))], events.MessageRead, "")
		}
	}
	return p, nil
}

// Apps are the apps of the day, to be configured before its first event.
func (p *Plan) Apps() []*App { return p.apps }

// Progress is how far the day has come, from 0 to 1: of the next event, or 1 after the last.
func (p *Plan) Progress() float64 {
	at, ok := p.next()
	if !ok {
		return 1
	}
	return max(0, 1-float64(p.options.End.UnixMilli()-at)/dayMillis)
}

// next is when the next event happens.
func (p *Plan) next() (at int64, ok bool) {
	begin := p.options.End.UnixMilli() - dayMillis
	switch {
	case p.created < len(p.groups):
		return begin, true
	case len(p.later) > 0 && (len(p.messages) == 0 || p.later[0].at < p.messages[0].at):
		return p.later[0].at, true
	case len(p.messages) > 0:
		return p.messages[0].at, true
	}
	return 0, false
}

// Next returns the next event and false after the last one. Groups are made first. Events have the
// time at which they happen and an event id, so that they may be sent again.
func (p *Plan) Next() (e events.Event, ok bool) {
	at, ok := p.next()
	switch {
	case !ok:
		return e, false
	case p.created < len(p.groups):
		e = p.groups[p.created].creation()
		p.created++
	case len(p.messages) > 0 && p.messages[0].at == at:
		e = p.send(p.messages[0])
		p.messages = p.messages[1:]
	default:
		e = p.later.next()
	}
	p.numbered++
	e.Time, e.EventID = at, fmt.Sprintf("demo-%d-%d", p.options.Seed, p.numbered)
	return e, true
}

// popular is a message of the first app that many were to read, with its group; nil if none was
// sent yet.
func (p *Plan) popular() (group, message string) {
	if p.best == nil {
		return "", ""
	}
	return p.best.place.group, p.best.id
}

func (g *place) creation() events.Event {
	e := events.Event{App: g.app.Name, Kind: events.GroupCreated, Group: g.group, User: g.people[0].name}
	for i, x := range g.people[1:] {
		if e.Members = append(e.Members, x.name); i < g.admins {
			e.Admins = append(e.Admins, x.name)
		}
	}
	return e
}

// in is an event of a user in a place.
func (g *place) in(user *person, kind events.Kind) events.Event {
	e := events.Event{App: g.app.Name, Kind: kind, Group: g.group, User: user.name}
	if g.group == "" {
		if e.Peer = g.people[0].name; e.Peer == user.name {
			e.Peer = g.people[1].name
		}
	}
	return e
}

// send sends a message, and plans what follows from it.
func (p *Plan) send(m *sent) events.Event {
	g := m.place
	m.recalled = p.random.Float64() < 0.01
	after := 20_000 + p.random.Int64N(300_000)
	if !p.missed && m.receipt && g.app == p.apps[0] && len(g.people) <= tracked && len(g.people) > 10 {
		// At once, so that the rules refuse something on any day.
		p.missed, m.recalled, after = true, true, 1000
	}
	if m.recalled {
		p.push(m.at+after, m, m.by, events.MessageRecalled, "")
	}
	for _, x := range g.people {
		if x != m.by {
			p.follow(m, x)
		}
	}
	if m.receipt && len(g.people) <= tracked && !m.recalled && g.app == p.apps[0] && (p.best == nil || m.readers > p.best.readers) {
		p.best = m
	}
	e := g.in(m.by, events.MessageSent)
	e.Message, e.Receipt, e.Label = m.id, m.receipt, m.label
	return e
}

// tracked is the size of a group up to which receipts are kept, by the default settings.
const tracked = 200

// contents are what some readers say.
var contents = []string{"on it", "👍", "thanks!", "seen on the train", "will do", "later today"}

// follow plans what a recipient does with a message.
func (p *Plan) follow(m *sent, x *person) {
	chat := m.place.group == ""
	if chat && p.random.Float64() < 0.9 {
		p.push(m.at+300+p.random.Int64N(3000), m, x, events.MessageDelivered, "")
	}
	if p.random.Float64() >= x.reads {
		return
	}
	// Half sooner than usual, half later, and never in less than a second.
	at := m.at + 1000 + int64(1000*x.after*math.Exp(1.1*p.random.NormFloat64()))
	switch {
	case !chat && (!m.receipt || len(m.place.people) > tracked):
		if p.random.Float64() < 0.15 {
			p.push(at, m, x, events.ConversationRead, "")
		}
	case chat && p.random.Float64() < 0.4:
		p.push(at, m, x, events.ConversationRead, "")
	default:
		content := ""
		if p.random.Float64() < 0.05 {
			content = contents[p.random.IntN(len(contents))]
		}
		p.push(at, m, x, events.MessageRead, content)
		if at < p.options.End.UnixMilli() {
			m.readers++
		}
		if p.random.Float64() < 0.03 { // twice
			p.push(at+500+p.random.Int64N(5000), m, x, events.MessageRead, content)
		}
		if p.random.Float64() < 0.1 {
			p.push(at+1, m, x, events.ConversationRead, "")
		}
	}
}

// push plans an event about a message, unless the day is over by then.
func (p *Plan) push(at int64, m *sent, x *person, kind events.Kind, content string) {
	if at < p.options.End.UnixMilli() {
		heap.Push(&p.later, &consequence{at, m, x, kind, content})
	}
}

// consequence is an event about a message.
type consequence struct {
	at      int64
	m       *sent
	by      *person
	kind    events.Kind
	content string
}

// queue is a heap of what is to come, the next one first.
type queue []*consequence

func (q *queue) next() events.Event {
	x := heap.Pop(q).(*consequence)
	e := x.m.place.in(x.by, x.kind)
	e.Content = x.content
	if x.kind != events.ConversationRead {
		e.Message = x.m.id
	}
	return e
}

// Len is part of [heap.Interface].
func (q queue) Len() int { return len(q) }

// Less is part of [heap.Interface].
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }

// Swap is part of [heap.Interface].
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is part of [heap.Interface].
func (q *queue) Push(x any) { *q = append(*q, x.(*consequence)) }

// Pop is part of [heap.Interface].
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}
