package admission

// holder is who holds some of the gate's memory.
type holder struct {
	gate *Gate
	who  Requester
	held int64 // bytes
}

// Room is memory of the gate's that something long-lived holds between requests, such as the buffer
// of a stream. It counts with the requests of its app, and of its address. It is for one
// goroutine at a time, and ends with [Room.Release].
type Room struct{ holder }

// Room begins to hold, nothing at first.
func (g *Gate) Room(who Requester) Room { return Room{holder{gate: g, who: who}} }

// Hold counts n more bytes. The error is a [*Refusal].
func (r *Room) Hold(n int64) error {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(r.who.App)
	if !r.hasRoom(a, n, g.o.Memory) {
		return g.refuse(a, r.who.Door, MemoryFull, n)
	}
	r.hold(a, n)
	return nil
}

// Fit counts n more bytes, or fewer if n is less than 0. More it counts only if half of what the
// app, and all, may hold is left then: it is for what goes faster with more, and can do with less,
// and so nobody is refused.
func (r *Room) Fit(n int64) (ok bool) {
	g := r.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.account(r.who.App)
	if n > 0 && !r.hasRoom(a, n, g.o.Memory/2) {
		return false
	}
	r.hold(a, n)
	return true
}

// Release gives everything back. It may be called again.
func (r *Room) Release() { r.Fit(-r.held) }

// hasRoom reports whether there is room for n more bytes, all being so much. g.mu is held, as in
// what follows.
func (h *holder) hasRoom(a *account, n, all int64) bool {
	g := h.gate
	if a.held+n > all/2 || g.held+n > all {
		return false
	}
	// Many apps may come from one address, of a proxy.
	return h.who.Address == "" || h.held+n <= freeOfAddress || g.addresses[h.who.Address]+n <= all/4*3
}

// freeOfAddress is what a request may hold whatever others of its address do.
const freeOfAddress = 16 << 10

// hold adds n, which may be less than 0, to everything that is held.
func (h *holder) hold(a *account, n int64) {
	g := h.gate
	h.held += n
	a.held += n
	g.held += n
	if h.who.Address == "" {
		return
	}
	if left := g.addresses[h.who.Address] + n; left > 0 {
		g.addresses[h.who.Address] = left
	} else {
		delete(g.addresses, h.who.Address)
	}
}
