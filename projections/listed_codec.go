package projections

// addListed adds a message of a group: its sender's ordinal, and its id.
func (e *blockEncoder) addListed(x *unreadRef) {
	flags := uint64(0)
	if x.silent {
		flags = blockOther
	}
	e.add(uint64(x.sender), flags, x.id)
}

// listed is the next message of a group of so many members, false if that was recalled.
func (d *blockDecoder) listed(members int) (x unreadRef, ok bool) {
	sender, flags := d.number()
	if flags == blockGone || d.r.bad {
		return x, false
	}
	if sender >= uint64(members) {
		d.r.bad = true
		return x, false
	}
	return unreadRef{sender: uint32(sender), silent: flags&blockOther != 0, id: d.id(flags)}, true
}
