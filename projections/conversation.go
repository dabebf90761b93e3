package projections

import (
	"encoding/binary"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// convName identifies a conversation within its app: a group, or the two users of a single chat.
type convName struct {
	group string
	a, b  string // a < b
}

func nameOf(c *events.Conversation) convName { return convName{group: c.Group, a: c.A, b: c.B} }

func (n convName) clone() convName {
	return convName{group: strings.Clone(n.group), a: strings.Clone(n.a), b: strings.Clone(n.b)}
}

// peerOf is the other user of a single chat.
func (n convName) peerOf(user string) string {
	if n.a == user {
		return n.b
	}
	return n.a
}

// conversation is a group or a single chat.
type conversation struct {
	node
	app  *app
	num  uint64
	name convName

	sent      uint64 // seq of the last message
	silent    uint64 // how many messages are silent
	creator   string // of a group
	dissolved bool
	active    int   // current members
	day       int64 // UTC day of the last message that collects receipts
	requests  int   // how many are, of that day
	imported  int64 // the time of the last event that was imported; 0 = none was

	members []member
	roster  roster   // groups only
	changed []uint32 // members changed since the last capture

	// messages are the cached ones.
	messages map[string]*message
	// unread are the last messages that may be unread, by seq; recalled are those that were taken
	// out of them since the last checkpoint.
	unread   tail[unreadRef]
	recalled []tailItem[struct{}]
	// unlisted is how many of the first messages of a group are not among them, because a version
	// without that list folded them.
	unlisted uint64
	// rowed is up to which seq the messages of a group have rows, of an earlier version; those
	// after it are listed in blocks. listed is up to which seq a capture has written them.
	rowed, listed uint64
	// admins and first are how many admins, and members in all, a group was created with. They have
	// the first ordinals: the owner, the admins, the others. 0 = not known, by such a version.
	admins, first int
	// places are, for each side of a single chat, the place of its conversation read in the summary
	// of the other.
	places [2]summaryPlace
}

func (c *conversation) group() bool      { return c.name.group != "" }
func (c *conversation) cacheNode() *node { return &c.node }

func (c *conversation) cost() int {
	n := 400 + 2*len(c.name.group) + 2*len(c.name.a) + 2*len(c.name.b) + len(c.members)*memberCost + len(c.unread.items)*unreadCost
	for i := range c.members {
		n += len(c.members[i].user) + c.members[i].extra.cost()
	}
	return n
}

// unreadBy is a member's unread count.
func (c *conversation) unreadBy(u *member) uint64 { return c.sent - c.silent - u.base }

func (c *conversation) forget(from *cache) {
	delete(c.app.convs, c.name)
	delete(from.conversationByNum, c.num)
}

// ordinal finds a member, current or former.
func (c *conversation) ordinal(user string) (uint32, bool) {
	if c.group() {
		return c.roster.find(c.members, user, nameHash(user))
	}
	return c.side(user)
}

// side is the ordinal of a user in a single chat.
func (c *conversation) side(user string) (uint32, bool) {
	switch user {
	case c.name.a:
		return 0, true
	case c.name.b:
		return 1, true
	}
	return 0, false
}

// peerOf is the ordinal of the other side of a single chat.
func (c *conversation) peerOf(user string) uint32 {
	o, _ := c.ordinal(user)
	return 1 - o
}

// newConversation makes a conversation that the state does not know yet.
func (p *Partition) newConversation(a *app, n convName) *conversation {
	p.apps.conversations++
	p.changes.meta = true
	c := &conversation{app: a, num: p.apps.conversations, name: n.clone(), messages: map[string]*message{}}
	p.cache.addConversation(c)
	if !c.group() {
		p.addMember(c, n.a, events.RoleMember)
		p.addMember(c, n.b, events.RoleMember)
	}
	p.changes.touchConv(c)
	p.changes.put(convNameKey(p.scratch.key(), a.num, c.name), binary.AppendUvarint(nil, c.num))
	return c
}

// conv returns the conversation with the name, or nil if there is none.
func (p *Partition) conv(a *app, n convName) (*conversation, error) {
	if c := a.convs[n]; c != nil {
		c.used = true
		return c, nil
	}
	v, err := p.back.Get(convNameKey(p.scratch.key(), a.num, n))
	if v == nil || err != nil {
		return nil, err
	}
	r := reader{b: v}
	num := r.uvarint()
	if r.bad {
		return nil, r.err()
	}
	return p.convByNum(num)
}

// convByNum returns the conversation with the number; it has to exist.
func (p *Partition) convByNum(num uint64) (*conversation, error) {
	if c := p.cache.conversationByNum[num]; c != nil {
		c.used = true
		return c, nil
	}
	v, err := p.back.Get(convKey(p.scratch.key(), num))
	if err != nil {
		return nil, err
	}
	c := &conversation{num: num, messages: map[string]*message{}}
	appNum, members, err := c.decodeHeader(v)
	if err != nil {
		return nil, err
	}
	if int(appNum) >= len(p.apps.byNum) {
		return nil, errCorrupt
	}
	c.app = p.apps.byNum[appNum]
	if c.group() {
		if p.questions.hurried && members > p.rules.limits.ColdMembers {
			return nil, &coldError{coldKey{conv: num}}
		}
		if err := p.loadMembers(c, members); err != nil {
			return nil, err
		}
	}
	c.allStored()
	p.cache.addConversation(c)
	return c, nil
}
