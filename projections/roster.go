package projections

import "hash/maphash"

// roster finds the members of a group by their names. It is a table with open addressing whose
// slots hold the upper half of a name's hash and the ordinal plus one: the name itself is compared
// where it is, in the member's record, which whoever finds a member looks at next anyway. A map of
// names took a fifth of the fold, most of it in waiting for memory.
type roster struct {
	slots []uint64 // a power of two of them, at most half of them taken
	count int
}

var nameSeed = maphash.MakeSeed()

// nameHash is the hash by which a [roster] finds a name.
func nameHash(user string) uint64 { return maphash.String(nameSeed, user) }

// slotOf is what stands for an ordinal whose name has the hash.
func slotOf(hash uint64, ordinal uint32) uint64 { return hash&^0xffffffff | uint64(ordinal+1) }

// find returns the ordinal of a name with the hash.
func (r *roster) find(members []member, user string, hash uint64) (uint32, bool) {
	if r.count == 0 {
		return 0, false
	}
	mask := uint64(len(r.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := r.slots[i]
		if slot == 0 {
			return 0, false
		}
		if (slot^hash)>>32 == 0 {
			if o := uint32(slot) - 1; members[o].user == user {
				return o, true
			}
		}
	}
}

// add puts an ordinal in, whose name is not in the roster.
func (r *roster) add(members []member, ordinal uint32) {
	if 2*(r.count+1) > len(r.slots) {
		r.grow(members, 2*(r.count+1))
	}
	r.put(nameHash(members[ordinal].user), ordinal)
	r.count++
}

// grow makes room for as many slots.
func (r *roster) grow(members []member, slots int) {
	n := max(8, len(r.slots))
	for n < slots {
		n *= 2
	}
	old := r.slots
	r.slots = make([]uint64, n)
	for _, slot := range old {
		if slot != 0 {
			o := uint32(slot) - 1
			r.put(nameHash(members[o].user), o)
		}
	}
}

func (r *roster) put(hash uint64, ordinal uint32) {
	mask := uint64(len(r.slots) - 1)
	i := hash & mask
	for r.slots[i] != 0 {
		i = (i + 1) & mask
	}
	r.slots[i] = slotOf(hash, ordinal)
}
