package projections

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/events"
)

// configuredUser is a user who has set something for all of their conversations.
type configuredUser struct {
	node
	app  *app
	user string
	userSettings
}

// configuredUserCost is the memory of a configuredUser, its place in the map included, without the
// id.
const configuredUserCost = 144

func (u *configuredUser) cacheNode() *node { return &u.node }
func (u *configuredUser) cost() int        { return configuredUserCost + 2*len(u.user) }
func (u *configuredUser) forget(*cache)    { delete(u.app.users, u.user) }

// knownSettings is what a user has set for all of their conversations, in a byte: 0 = it was not
// looked up.
type knownSettings uint8

func (s *userSettings) known() knownSettings { return knownSettings(1 + s.reads + s.deliveries<<2) }

func (k knownSettings) choices() (reads, deliveries events.Choice) {
	return events.Choice(k-1) & 3, events.Choice(k-1) >> 2
}

// errStop ends a scan that has found enough.
var errStop = errors.New("projections: enough")

// loadConfigured notes whether anybody has set anything: where nobody has, nothing is looked up.
func (p *Partition) loadConfigured(a *app) error {
	prefix := binary.AppendUvarint([]byte{tableUser}, uint64(a.num))
	err := p.back.Scan(prefix, func(_, _ []byte) error { return errStop })
	if errors.Is(err, errStop) {
		a.anyConfigured, err = true, nil
	}
	return err
}

// configuredUser finds what a user has set for all of their conversations; nil if nothing.
func (p *Partition) configuredUser(a *app, user string) (*configuredUser, error) {
	if !a.anyConfigured {
		return nil, nil
	}
	if u := a.users[user]; u != nil {
		u.used = true
		return u, nil
	}
	v, err := p.back.Get(userKey(p.scratch.key(), a.num, user))
	if v == nil || err != nil {
		return nil, err
	}
	r := reader{b: v}
	u := &configuredUser{app: a, user: strings.Clone(user)}
	if u.userSettings.decode(&r); r.bad {
		return nil, errCorrupt
	}
	p.cache.addUser(u)
	return u, nil
}

// hides reports what a member hides in the conversation now: docs/rules.md, "Who hides what".
func (p *Partition) hides(c *conversation, o uint32) (reads, deliveries bool, err error) {
	a, u := c.app, &c.members[o]
	if a.settings.ReadReceipts == events.ReadReceiptsAlways {
		return false, false, nil
	}
	never := a.settings.ReadReceipts == events.ReadReceiptsNever
	if !a.anyConfigured && u.extra == nil {
		return never, false, nil
	}
	if u.everywhere == 0 {
		x, err := p.configuredUser(a, u.user)
		if err != nil {
			return false, false, err
		}
		u.everywhere = new(userSettings).known()
		if x != nil {
			u.everywhere = x.userSettings.known()
		}
	}
	r, d := u.everywhere.choices()
	if x := u.extra; x != nil {
		if x.reads != events.ChoiceNone {
			r = x.reads
		}
		if x.deliveries != events.ChoiceNone {
			d = x.deliveries
		}
	}
	return never || r == events.ChoiceHide, d == events.ChoiceHide, nil
}

// seesNobody reports whether a member is shown nobody's reads, since they hide their own.
func (p *Partition) seesNobody(c *conversation, o uint32) (bool, error) {
	if !c.app.settings.Reciprocal {
		return false, nil
	}
	reads, _, err := p.hides(c, o)
	return reads, err
}

// userConfigured decides user.configured: docs/rules.md, the section of that name.
func (p *Partition) userConfigured(a *app, i int) (events.Outcome, error) {
	x := p.scratch.attributes(i)
	w := userSettings{reads: x.SendReads, deliveries: x.SendDeliveries, revision: x.Revision}
	if name := nameOf(p.scratch.conversation(i)); name == (convName{}) {
		return p.configureUser(a, p.scratch.user(i), w)
	}
	c, o, refused, err := p.memberOf(a, i)
	switch {
	case err != nil || refused != events.OutcomeApplied:
		return refused, err
	case c.members[o].extra != nil && w.revision <= c.members[o].extra.revision || w.revision == 0:
		return events.OutcomeDuplicate, nil
	}
	p.alter(c, o, func(x *memberExtra) { x.userSettings = w })
	return events.OutcomeApplied, nil
}

func (p *Partition) configureUser(a *app, user string, w userSettings) (events.Outcome, error) {
	u, err := p.configuredUser(a, user)
	switch {
	case err != nil:
		return 0, err
	case u != nil && w.revision <= u.revision || w.revision == 0:
		return events.OutcomeDuplicate, nil
	case u == nil:
		a.anyConfigured = true
		u = &configuredUser{app: a, user: strings.Clone(user)}
		p.cache.addUser(u)
	}
	u.userSettings = w
	u.epoch = p.changes.epoch // it stays in memory until the checkpoint has it
	p.scratch.value = w.encode(p.scratch.value[:0])
	p.changes.put(userKey(p.scratch.key(), a.num, user), p.scratch.value)
	return events.OutcomeApplied, p.forgetSettings(a, user)
}

// forgetSettings has what a user has set looked up again, wherever it was.
func (p *Partition) forgetSettings(a *app, user string) error {
	forget := func(num uint64) {
		if c := p.cache.conversationByNum[num]; c != nil {
			if o, known := c.ordinal(user); known {
				c.members[o].everywhere = 0
			}
		}
	}
	r, x := userRef{a.num, user}, &p.changes.indexes
	for _, num := range slices.Concat(x.added.users[r], x.captured.users[r]) {
		forget(num)
	}
	prefix := userIndexPrefix(nil, a.num, user)
	return p.back.Scan(prefix, func(key, _ []byte) error {
		num, n := binary.Uvarint(key[len(prefix):])
		if n <= 0 {
			return errCorrupt
		}
		forget(num)
		return nil
	})
}

// memberOf resolves the current member whom an event about an existing conversation concerns. The
// outcome is OutcomeApplied, or why there is none.
func (p *Partition) memberOf(a *app, i int) (c *conversation, o uint32, refused events.Outcome, err error) {
	e := &p.scratch
	if c, err = p.convOf(a, e.batch.Conv[i]); err != nil {
		return nil, 0, 0, err
	}
	if c == nil {
		if e.conversation(i).Group != "" {
			return nil, 0, events.RejectedNoGroup, nil
		}
		return nil, 0, events.RejectedNoMessage, nil
	}
	if refused = c.refuses(e.user(i)); refused == events.OutcomeApplied {
		o, _ = c.ordinal(e.user(i))
	}
	return c, o, refused, nil
}
