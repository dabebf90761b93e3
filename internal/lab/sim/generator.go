package sim

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/receiptd/receiptd/events"
)

const (
	// window is how many messages of a group get reads at the same time: a read is never later
	// than window-1 further messages.
	window = 8
	// maxActive is how many conversations are busy at the same time; the stream goes back and
	// forth between them.
	maxActive = 64
	// maxRun is how many events of one conversation come in a row at most.
	maxRun = 8
)

// Generator is an endless stream of the events of some of the conversations. For each conversation,
// the events make sense in the order they come, and only in that order. A generator belongs to one
// goroutine.
type Generator struct {
	config Config
	random rand.PCG
	ids    idMaker

	conversations         []conversation
	active                []*conversation
	idleGroups, idleChats []*conversation

	ledger   ledger
	totals   Totals
	toRepeat int // new receipts before the next duplicate
}

// conversation is the state of a group or single chat in the stream. Users are named by their seat,
// the index into the place's users.
type conversation struct {
	*place
	index uint32
	// joined has for each seat the number of messages that were sent before its user came, or
	// away.
	joined  []uint32
	outside []uint32 // the seats that are away
	sent    uint32   // messages, the announced one included
	ring    [window]message

	// The exchange is what happens around one message.
	step  step
	early int // reads still to come before the message
}

type step uint8

const (
	idle step = iota
	announced
	open      // groups: sent
	unread    // single chats: sent
	delivered // single chats
	done      // single chats: read, or never to be
)

const away = math.MaxUint32

// message is one that still gets reads. Its readers come in the order first, first+stride, … modulo
// the number of seats, which is prime to stride.
type message struct {
	id             string
	number         uint32 // in the conversation, from 1
	record         uint32 // in the ledger
	sender         uint32
	first, stride  uint32
	next           uint32 // the seat that comes next
	visited, limit uint32 // seats so far and in the end
}

// comeBy is how many of a message's readers, in 256ths, have come before the message that follows
// it by so many.
var comeBy = [window]uint32{150, 200, 225, 238, 245, 250, 253, 256}

func newGenerator(t *Traffic, index, of int) *Generator {
	g := &Generator{
		config: t.config,
		random: *rand.NewPCG(t.config.Seed, uint64(index)+1),
		ids:    newIDMaker(uint64(index)),
	}
	for _, places := range [][]place{t.groups, t.chats} {
		for i := index; i < len(places); i += of {
			g.conversations = append(g.conversations, newConversation(&places[i], uint32(len(g.conversations))))
		}
	}
	for i := range g.conversations {
		if c := &g.conversations[i]; c.group != "" {
			g.idleGroups = append(g.idleGroups, c)
		} else {
			g.idleChats = append(g.idleChats, c)
		}
	}
	for range max(1, min(maxActive, len(g.idleGroups)/2)) {
		g.active = append(g.active, g.wake())
	}
	g.toRepeat = g.gap(t.config.Duplicates)
	return g
}

func newConversation(p *place, index uint32) conversation {
	c := conversation{place: p, index: index, joined: make([]uint32, len(p.users))}
	for seat := p.present; seat < len(p.users); seat++ {
		c.joined[seat] = away
		c.outside = append(c.outside, uint32(seat))
	}
	return c
}

// Next appends the next n events to dst and returns it. It allocates the ids of new messages and
// what it needs to know about them, but nothing for a receipt.
func (g *Generator) Next(dst []events.Event, n int) []events.Event {
	dst = slices.Grow(dst, n)
	for end := len(dst) + n; len(dst) < end; {
		i := g.below(len(g.active))
		c := g.active[i]
		room := min(end-len(dst), 1+g.below(maxRun))
		if c.group != "" {
			dst = g.group(dst, c, room)
		} else {
			dst = g.chat(dst, c)
		}
		if c.step == idle {
			g.sleep(c)
			g.active[i] = g.wake()
		}
	}
	g.totals.Events += n
	return dst
}

// wake picks an idle conversation of the kind that is to have the next message.
func (g *Generator) wake() *conversation {
	list := &g.idleGroups
	if len(g.idleChats) > 0 && (len(g.idleGroups) == 0 || g.chance(g.config.SingleChats)) {
		list = &g.idleChats
	}
	i, last := g.below(len(*list)), len(*list)-1
	c := (*list)[i]
	(*list)[i] = (*list)[last]
	*list = (*list)[:last]
	return c
}

func (g *Generator) sleep(c *conversation) {
	if c.group != "" {
		g.idleGroups = append(g.idleGroups, c)
	} else {
		g.idleChats = append(g.idleChats, c)
	}
}

// group goes on with the exchange of a group by up to room events, at least one.
func (g *Generator) group(dst []events.Event, c *conversation, room int) []events.Event {
	if c.step == idle {
		if g.chance(g.config.Churn) {
			dst = g.churn(dst, c)
			room--
		}
		g.announce(c)
	}
	if c.step == announced {
		m := &c.ring[c.sent%window]
		for ; c.early > 0 && room > 0; room-- {
			c.early--
			if seat, ok := c.reader(m, m.limit); ok {
				dst = g.read(dst, c, m, seat)
				g.totals.Early++
				g.totals.Waiting++
			} else {
				c.early = 0
			}
		}
		if room > 0 {
			dst = g.send(dst, c, m)
			room--
		}
	}
	if c.step == open && room > 0 {
		dst = g.reads(dst, c, room)
	}
	return dst
}

// announce prepares a group's next message, and with it the exchange.
func (g *Generator) announce(c *conversation) {
	sender := g.member(c)
	seats := uint32(len(c.joined))
	c.sent++
	id, number := g.ids.next()
	m := &c.ring[c.sent%window]
	*m = message{
		id: id, number: c.sent, record: g.ledger.add(number, c.index, len(c.joined)),
		sender: sender,
		first:  uint32(g.below(int(seats))),
		stride: g.stride(seats),
		limit:  seats - g.absent(seats),
	}
	m.next = m.first
	readers := float64(m.limit) * float64(int(seats)-len(c.outside)-1) / float64(seats) // about
	early := g.config.EarlyReads * readers
	c.early = int(early)
	if g.chance(early - math.Floor(early)) {
		c.early++
	}
	c.step = announced
}

// absent is how many seats are not going to read a message.
func (g *Generator) absent(seats uint32) uint32 {
	least := max(0, 2*g.config.Absent-1) * float64(seats)
	most := min(1, 2*g.config.Absent) * float64(seats)
	return uint32(int(least) + g.below(int(most)-int(least)+1))
}

// send sends the announced message.
func (g *Generator) send(dst []events.Event, c *conversation, m *message) []events.Event {
	c.step = open
	g.totals.Messages++
	g.totals.Waiting -= g.ledger.send(m.record)
	return append(dst, events.Event{
		App: c.app, Kind: events.MessageSent, Group: c.group, User: c.users[m.sender], Message: m.id, Receipt: true,
	})
}

// reads has members read one of the messages in the window, or ends the exchange.
func (g *Generator) reads(dst []events.Event, c *conversation, room int) []events.Event {
	m, limit := g.unfinished(c)
	if m == nil {
		c.step = idle
		return dst
	}
	for ; room > 0; room-- {
		if g.toRepeat == 0 && m.visited > 0 {
			if seat, ok := g.readerOf(c, m); ok {
				g.toRepeat = g.gap(g.config.Duplicates)
				g.totals.Receipts++
				g.totals.Duplicates++
				dst = c.appendRead(dst, m, seat)
				continue
			}
		}
		seat, ok := c.reader(m, limit)
		if !ok {
			break
		}
		g.toRepeat = max(0, g.toRepeat-1)
		dst = g.read(dst, c, m, seat)
	}
	return dst
}

// unfinished is a message of the window that is to have readers now, and how many seats come in
// this exchange: the latest message half of the time, the one before it a quarter, and so on.
func (g *Generator) unfinished(c *conversation) (*message, uint32) {
	first := uint32(bits.TrailingZeros64(g.random.Uint64()))
	for i := range uint32(window) {
		age := (first + i) % window
		m := &c.ring[(c.sent-age)%window]
		if limit := m.limit * comeBy[age] / 256; m.visited < limit {
			return m, limit
		}
	}
	return nil, 0
}

// reader is the next seat that may read the message, if limit seats have not come yet.
func (c *conversation) reader(m *message, limit uint32) (uint32, bool) {
	for m.visited < limit {
		seat := m.next
		m.visited++
		if m.next += m.stride; m.next >= uint32(len(c.joined)) {
			m.next -= uint32(len(c.joined))
		}
		if c.joined[seat] < m.number && seat != m.sender {
			return seat, true
		}
	}
	return 0, false
}

// readerOf is a seat that has read the message.
func (g *Generator) readerOf(c *conversation, m *message) (uint32, bool) {
	k := uint64(g.below(int(m.visited)))
	seat := uint32((uint64(m.first) + k*uint64(m.stride)) % uint64(len(c.joined)))
	return seat, g.ledger.has(m.record, seat)
}

// read has a seat read the message for the first time.
func (g *Generator) read(dst []events.Event, c *conversation, m *message, seat uint32) []events.Event {
	g.ledger.read(m.record, seat)
	g.totals.Receipts++
	g.totals.Distinct++
	return c.appendRead(dst, m, seat)
}

// appendRead makes the event in place: an event is large, and this is where most come from. Next
// has made room.
func (c *conversation) appendRead(dst []events.Event, m *message, seat uint32) []events.Event {
	dst = dst[:len(dst)+1]
	dst[len(dst)-1] = events.Event{App: c.app, Kind: events.MessageRead, Group: c.group, User: c.users[seat], Message: m.id}
	return dst
}

// churn has a member leave the group or somebody from outside join it. About as many seats stay
// outside as there were at first.
func (g *Generator) churn(dst []events.Event, c *conversation) []events.Event {
	ev := events.Event{App: c.app, Group: c.group}
	if n := len(c.outside); n > 0 && (n > 2*(len(c.users)-c.present) || len(c.users)-n <= 2 || g.chance(0.5)) {
		i := g.below(n)
		seat := c.outside[i]
		c.outside[i] = c.outside[n-1]
		c.outside = c.outside[:n-1]
		c.joined[seat] = c.sent
		ev.Kind, ev.User = events.GroupJoined, c.users[seat]
		g.totals.Joined++
	} else {
		seat := g.member(c)
		c.outside = append(c.outside, seat)
		c.joined[seat] = away
		ev.Kind, ev.User = events.GroupLeft, c.users[seat]
		g.totals.Left++
	}
	return append(dst, ev)
}

// member is the seat of a current member.
func (g *Generator) member(c *conversation) uint32 {
	for {
		if seat := uint32(g.below(len(c.joined))); c.joined[seat] != away {
			return seat
		}
	}
}

// chat goes on with the exchange of a single chat by one event, or ends it.
func (g *Generator) chat(dst []events.Event, c *conversation) []events.Event {
	m := &c.ring[0]
	peer := 1 - m.sender
	receipt := events.Event{App: c.app, Peer: c.users[m.sender], User: c.users[peer], Message: m.id}
	if c.step >= delivered && g.chance(g.config.Duplicates) {
		receipt.Kind = events.MessageDelivered
		if g.ledger.has(m.record, peer) {
			receipt.Kind = events.MessageRead
		}
		g.totals.Receipts++
		g.totals.Duplicates++
		return append(dst, receipt)
	}
	switch c.step {
	case idle:
		id, number := g.ids.next()
		*m = message{id: id, record: g.ledger.add(number, c.index, 2), sender: uint32(g.below(2))}
		g.ledger.send(m.record)
		g.totals.Messages++
		c.step = unread
		return append(dst, events.Event{
			App: c.app, Kind: events.MessageSent, Peer: c.users[1-m.sender], User: c.users[m.sender], Message: id,
		})
	case unread:
		c.step = delivered
		receipt.Kind = events.MessageDelivered
	case delivered:
		c.step = done
		if g.chance(g.config.Absent) {
			return dst
		}
		receipt.Kind = events.MessageRead
		g.ledger.read(m.record, peer)
	case done:
		c.step = idle
		return dst
	}
	g.totals.Receipts++
	g.totals.Distinct++
	return append(dst, receipt)
}
