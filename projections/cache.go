package projections

// cache holds what the fold touched lately: messages, conversations, authors, cohorts and totals.
//
// What changed since the last checkpoint was captured, or was captured and is not committed yet,
// stays. The rest goes by second chance (the clock algorithm) once the budget is exceeded. Nothing
// is evicted in the middle of an entry or a query, so both may point to whatever they looked up.
type cache struct {
	// budget and bytes are rough: see the cost methods.
	budget, bytes int
	// floor is bytes after a sweep that found too little to evict, and a little more; 0 if there
	// was none since the last commit.
	floor int

	messages      ring[*message]
	conversations ring[*conversation]
	authors       ring[*author]
	users         ring[*configuredUser]
	cohorts       ring[*cohort] // cohorts proper
	totals        ring[*cohort]

	conversationByNum map[uint64]*conversation
	cohortByKey       map[cohortKey]*cohort // cohorts proper, and totals of hours
	totalByDay        map[dayKey]*cohort

	// cold are the loads under way without the lock.
	cold map[coldKey]*coldLoad
}

// evictMost bounds what is evicted at a time beyond what a fold adds in between.
const evictMost = 1 << 20

func newCache(budget int) cache {
	return cache{
		budget:            budget,
		conversationByNum: map[uint64]*conversation{},
		cohortByKey:       map[cohortKey]*cohort{},
		totalByDay:        map[dayKey]*cohort{},
		cold:              map[coldKey]*coldLoad{},
	}
}

func (c *cache) addMessage(m *message) {
	m.used = true
	m.conv.messages[m.id] = m
	m.conv.refs++
	c.messages.add(m)
	c.bytes += m.cost()
	c.spoil(m.conv.num, m.id)
}

func (c *cache) addConversation(x *conversation) { c.insertConversation(x, x.cost()) }

// insertConversation is addConversation for one whose cost is known.
func (c *cache) insertConversation(x *conversation, cost int) {
	x.used = true
	x.app.convs[x.name] = x
	c.conversationByNum[x.num] = x
	c.conversations.add(x)
	c.bytes += cost
	c.spoil(x.num, "")
}

func (c *cache) addAuthor(u *author) {
	u.used = true
	u.app.authors[u.user] = u
	c.authors.add(u)
	c.bytes += u.cost()
}

func (c *cache) addUser(u *configuredUser) {
	u.used = true
	u.app.users[u.user] = u
	c.users.add(u)
	c.bytes += u.cost()
}

func (c *cache) addCohort(x *cohort) {
	x.used = true
	switch x.kind {
	case GroupDay, SenderDay:
		c.totalByDay[x.dayKey()] = x
	default:
		c.cohortByKey[x.cohortKey] = x
	}
	if x.kind == OneCohort {
		c.cohorts.add(x)
	} else {
		c.totals.add(x)
	}
	c.bytes += x.cost()
}

// evict gets the cache back below its budget, as far as what is committed allows. After the budget
// was cut that takes several calls: each holds up whoever waits for the fold.
func (c *cache) evict(committed uint64) {
	if c.bytes <= max(c.budget, c.floor) {
		return
	}
	want := min(c.bytes-c.budget, max(c.budget/16, evictMost)) + c.budget/16
	freed := c.messages.sweep(c, committed, want)
	if freed < want {
		freed += c.authors.sweep(c, committed, want-freed)
	}
	if freed < want {
		freed += c.users.sweep(c, committed, want-freed)
	}
	if freed < want {
		freed += c.cohorts.sweep(c, committed, want-freed)
	}
	if freed < want {
		freed += c.totals.sweep(c, committed, want-freed)
	}
	if freed < want {
		freed += c.conversations.sweep(c, committed, want-freed)
	}
	c.bytes -= freed
	if freed < want {
		// The rest waits for its commit: to look at all of it again after each entry and query
		// would be slow.
		c.floor = c.bytes + c.budget/16
	}
}

// node is the part of a cached object that the cache looks at.
type node struct {
	// epoch is the checkpoint that captures, or captured, the last change.
	epoch uint64
	// refs counts cached objects that point to this one.
	refs int32
	// used is the second chance.
	used bool
}

type cached interface {
	cacheNode() *node
	// cost is roughly the memory it takes, in bytes.
	cost() int
	// forget takes it out of the maps that find it.
	forget(*cache)
}

// ring is a clock of cached objects with one hand.
type ring[T cached] struct {
	items []T
	hand  int
}

func (r *ring[T]) add(x T) { r.items = append(r.items, x) }

// sweep moves the hand at most twice around and evicts until it has freed the wanted bytes. Objects
// that others point to, and those changed after the committed epoch, stay.
func (r *ring[T]) sweep(c *cache, committed uint64, want int) (freed int) {
	for left := 2 * len(r.items); left > 0 && freed < want && len(r.items) > 0; left-- {
		if r.hand >= len(r.items) {
			r.hand = 0
		}
		x := r.items[r.hand]
		n := x.cacheNode()
		switch {
		case n.refs > 0 || n.epoch > committed:
			r.hand++
		case n.used:
			n.used = false
			r.hand++
		default:
			freed += x.cost()
			x.forget(c)
			last := len(r.items) - 1
			r.items[r.hand] = r.items[last]
			var zero T
			r.items[last] = zero
			r.items = r.items[:last]
		}
	}
	return freed
}
