package projections

import (
	"strings"

	"github.com/receiptd/receiptd/events"
)

// span is one stay in a group: there for messages with joined < seq <= left.
type span struct{ joined, left uint64 }

// member is a current or former member of a group, or a side of a single chat (ordinal 0 is a, 1 is
// b). Ordinals are given in the order of joining and stay for good: read sets are made of them.
type member struct {
	// What each receipt looks at is in one cache line.
	role events.Role // RoleNone for a former member
	// everywhere is what the user has set for all of their conversations, as far as it was looked
	// up: 0 = it was not.
	everywhere knownSettings
	extra      *memberExtra // what only few members have; nil = nothing
	// joined is where the current stay, or the last one, begins; left is where it ended.
	joined, left uint64
	// earlier are the stays before it.
	earlier []span
	// watermark is the seq up to which the member's last conversation read reached, at lastReadAt.
	watermark  uint64
	lastReadAt int64
	// base is what sent was when unread was 0, moved up for each message since then that does not
	// count: unread is sent - base.
	base  uint64
	epoch uint64
	user  string
}

// memberCost is the memory of one member, with its place in the roster and extra, but without the
// id and what extra points to.
const memberCost = 144

func (m *member) active() bool { return m.role != events.RoleNone }

// wasThere reports whether the message numbered seq was sent during a stay of the member.
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

// addMember gives a user the next ordinal of the conversation.
func (p *Partition) addMember(c *conversation, user string, role events.Role) uint32 {
	o := uint32(len(c.members))
	user = strings.Clone(user)
	c.members = append(c.members, member{user: user, role: role, joined: c.sent, watermark: c.sent, base: c.sent - c.silent})
	c.active++
	if c.group() {
		c.roster.add(c.members, o)
	}
	p.changes.touchMember(c, o)
	p.scratch.value = c.encodeOrdinal(p.scratch.value[:0], o)
	p.changes.put(userIndexKey(p.scratch.key(), c.app.num, user, c.num), p.scratch.value)
	p.changes.indexes.added.addUser(userRef{c.app.num, user}, c.num)
	p.cache.bytes += memberCost + len(user)
	return o
}

func (p *Partition) loadMembers(c *conversation, n int) error {
	if n > events.MaxEverMembers {
		return errCorrupt
	}
	prefix := memberPrefix(p.scratch.key(), c.num)
	return c.fillMembers(n, len(prefix), func(f func(key, value []byte) error) error { return p.back.Scan(prefix, f) })
}
