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

// span is one stay in a group: there for messages with joined < seq <= left.
type span struct{ joined, left uint64 }

// member is a member of a group, now or once, or a side of a single chat (ordinal 0 is a, 1 is b).
// Ordinals are given in the order of joining and stay for good: read sets are made of them.
type member struct {
	user string
	role events.Role // RoleNone when he is not there now
	// joined is where the current stay, or the last one, begins; left is where it ended.
	joined, left uint64
	// earlier are the stays before it.
	earlier []span
	// seen is the watermark: the seq up to which his last conversation read reached, at lastReadAt.
	seen       uint64
	lastReadAt int64
	// base is what sent was when unread was 0, moved up for each message since then that does not
	// count: unread is sent - base.
	base  uint64
	epoch uint64
}

func (m *member) active() bool { return m.role != events.RoleNone }

// wasThere reports whether the message numbered seq was sent while he was a member.
func (m *member) wasThere(seq uint64) bool {
	if m.joined < seq && (m.active() || seq <= m.left) {
		return true
	}
	for _, s := range m.earlier {
		if s.joined < seq && seq <= s.left {
			return true
		}
	}
	return false
}

// conversation is a group or a single chat.
type conversation struct {
	node
	app  *app
	num  uint64
	name convName

	sent      uint64 // seq of the last message
	creator   string // of a group
	dissolved bool
	active    int   // current members
	day       int64 // UTC day of the last message that asked for receipts
	requests  int   // how many asked on that day

	members []member
	byUser  map[string]uint32 // groups only
	dirty   []uint32          // members changed since the last capture

	// messages are the cached ones.
	messages map[string]*message
	// unread are the latest of a single chat's messages not yet covered by a conversation read, by seq.
	unread tail[unreadRef]
	// pending is, for each side of a single chat, the place of its conversation read in the other's summary.
	places [2]summaryPlace
}

// unreadRef is a message of a single chat that no conversation read of its receiver has covered.
type unreadRef struct {
	sender uint32 // ordinal
	id     string
}

func (c *conversation) group() bool      { return c.name.group != "" }
func (c *conversation) cacheNode() *node { return &c.node }

// memberCost is the memory of one member, his place in byUser included, without his id.
const memberCost = 136

func (c *conversation) cost() int {
	n := 400 + 2*len(c.name.group) + 2*len(c.name.a) + 2*len(c.name.b) + len(c.members)*memberCost + len(c.unread.items)*unreadCost
	for i := range c.members {
		n += len(c.members[i].user)
	}
	return n
}

func (c *conversation) forget(p *Partition) {
	delete(c.app.convs, c.name)
	delete(p.byNum, c.num)
}

// ordinal finds a member, current or former.
func (c *conversation) ordinal(user string) (uint32, bool) {
	if c.group() {
		o, ok := c.byUser[user]
		return o, ok
	}
	switch user {
	case c.name.a:
		return 0, true
	case c.name.b:
		return 1, true
	}
	return 0, false
}

// touch marks the header for the next checkpoint.
func (p *Partition) touchConv(c *conversation) {
	if c.epoch != p.epoch {
		c.epoch = p.epoch
		p.dirtyConvs = append(p.dirtyConvs, c)
	}
}

// touchMember marks a member for the next checkpoint. Both sides of a single chat lie in the header.
func (p *Partition) touchMember(c *conversation, o uint32) {
	p.touchConv(c)
	if m := &c.members[o]; c.group() && m.epoch != p.epoch {
		m.epoch = p.epoch
		c.dirty = append(c.dirty, o)
	}
}

// addMember gives a user the next ordinal of the conversation.
func (p *Partition) addMember(c *conversation, user string, role events.Role) uint32 {
	o := uint32(len(c.members))
	user = strings.Clone(user)
	c.members = append(c.members, member{user: user, role: role, joined: c.sent, seen: c.sent, base: c.sent})
	c.active++
	if c.group() {
		c.byUser[user] = o
	}
	p.touchMember(c, o)
	p.put(userIndexKey(p.key(), c.app.num, user, c.num), nil)
	p.dirty.addUser(userRef{c.app.num, user}, c.num)
	p.cacheBytes += memberCost + len(user)
	return o
}

// newConversation makes a conversation that the state does not know yet.
func (p *Partition) newConversation(a *app, n convName) *conversation {
	p.convs++
	p.metaDirty = true
	c := &conversation{app: a, num: p.convs, name: n.clone(), messages: map[string]*message{}}
	p.keepConv(c)
	if c.group() {
		c.byUser = map[string]uint32{}
	} else {
		p.addMember(c, n.a, events.RoleMember)
		p.addMember(c, n.b, events.RoleMember)
	}
	p.touchConv(c)
	p.put(convNameKey(p.key(), a.num, c.name), binary.AppendUvarint(nil, c.num))
	return c
}

func (p *Partition) keepConv(c *conversation) {
	c.used = true
	c.app.convs[c.name] = c
	p.byNum[c.num] = c
	p.convRing.add(c)
	p.cacheBytes += c.cost()
}

// conv returns the conversation with the name, or nil if there is none.
func (p *Partition) conv(a *app, n convName) (*conversation, error) {
	if c := a.convs[n]; c != nil {
		c.used = true
		return c, nil
	}
	v, err := p.back.Get(convNameKey(p.key(), a.num, n))
	if v == nil || err != nil {
		return nil, err
	}
	r := reader{b: v}
	num := r.uvarint()
	if r.bad {
		return nil, r.err()
	}
	return p.loadConv(num)
}

// loadConv returns the conversation with the number; it has to exist.
func (p *Partition) loadConv(num uint64) (*conversation, error) {
	if c := p.byNum[num]; c != nil {
		c.used = true
		return c, nil
	}
	v, err := p.back.Get(convKey(p.key(), num))
	if err != nil {
		return nil, err
	}
	c := &conversation{num: num, messages: map[string]*message{}}
	appNum, members, err := c.decodeHeader(v)
	if err != nil {
		return nil, err
	}
	if int(appNum) >= len(p.appsByNum) {
		return nil, errCorrupt
	}
	c.app = p.appsByNum[appNum]
	if c.group() {
		if err := p.loadMembers(c, members); err != nil {
			return nil, err
		}
	} else {
		c.unread.cut = c.sent
	}
	p.keepConv(c)
	return c, nil
}

func (p *Partition) loadMembers(c *conversation, n int) error {
	if n > events.MaxGroupMembers {
		return errCorrupt
	}
	c.members = make([]member, n)
	c.byUser = make(map[string]uint32, n)
	prefix := memberPrefix(p.key(), c.num)
	err := p.back.Scan(prefix, func(key, value []byte) error {
		o, k := binary.Uvarint(key[len(prefix):])
		if k <= 0 || o >= uint64(n) {
			return errCorrupt
		}
		m := &c.members[o]
		if err := m.decode(value); err != nil {
			return err
		}
		c.byUser[m.user] = uint32(o)
		return nil
	})
	if err == nil && len(c.byUser) != n {
		err = errCorrupt
	}
	return err
}

const (
	convGroup     = 1 << 0
	convDissolved = 1 << 1
)

func (c *conversation) encodeHeader(dst []byte) []byte {
	var flags byte
	if c.group() {
		flags |= convGroup
	}
	if c.dissolved {
		flags |= convDissolved
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(c.app.num))
	dst = binary.AppendUvarint(dst, c.sent)
	if !c.group() {
		dst = appendString(appendString(dst, c.name.a), c.name.b)
		for i := range c.members {
			dst = c.places[i].encode(c.members[i].encodeRead(dst))
		}
		return dst
	}
	dst = appendString(dst, c.name.group)
	dst = appendString(dst, c.creator)
	dst = binary.AppendUvarint(dst, uint64(len(c.members)))
	dst = binary.AppendUvarint(dst, uint64(c.active))
	dst = appendInt(dst, c.day)
	return binary.AppendUvarint(dst, uint64(c.requests))
}

func (c *conversation) decodeHeader(v []byte) (appNum uint64, members int, err error) {
	r := reader{b: v}
	flags := r.byte()
	c.dissolved = flags&convDissolved != 0
	appNum = r.uvarint()
	c.sent = r.uvarint()
	if flags&convGroup == 0 {
		c.name.a, c.name.b = r.string(), r.string()
		c.active = 2
		c.members = []member{{user: c.name.a, role: events.RoleMember}, {user: c.name.b, role: events.RoleMember}}
		for i := range c.members {
			c.members[i].decodeRead(&r)
			c.places[i].decode(&r)
		}
		return appNum, 2, r.err()
	}
	c.name.group = r.string()
	c.creator = r.string()
	members = int(r.uvarint())
	c.active = int(r.uvarint())
	c.day = r.varint()
	c.requests = int(r.uvarint())
	return appNum, members, r.err()
}

// encodeRead is the part of a member that both kinds of conversation have.
func (m *member) encodeRead(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, m.base)
	dst = binary.AppendUvarint(dst, m.seen)
	return appendInt(dst, m.lastReadAt)
}

func (m *member) decodeRead(r *reader) {
	m.base = r.uvarint()
	m.seen = r.uvarint()
	m.lastReadAt = r.varint()
}

func (m *member) encode(dst []byte) []byte {
	dst = appendString(dst, m.user)
	dst = append(dst, byte(m.role))
	dst = m.encodeRead(dst)
	dst = binary.AppendUvarint(dst, m.joined)
	dst = binary.AppendUvarint(dst, m.left)
	for _, s := range m.earlier {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, s.joined), s.left)
	}
	return dst
}

func (m *member) decode(v []byte) error {
	r := reader{b: v}
	m.user = r.string()
	m.role = events.Role(r.byte())
	m.decodeRead(&r)
	m.joined = r.uvarint()
	m.left = r.uvarint()
	for len(r.b) > 0 && !r.bad {
		m.earlier = append(m.earlier, span{joined: r.uvarint(), left: r.uvarint()})
	}
	return r.err()
}
