package events

import "hash/maphash"

// dict numbers distinct keys in the order of first use. A key is a string within a scope: the same
// message id in two conversations is two keys.
//
// It is an open-addressing table rather than a map because a batch fills and empties it thousands
// of times a second: here emptying is one increment, and a new key is hashed only once.
type dict struct {
	// A slot has, from the top, 16 bits of the key's hash, 16 bits of generation and 32 bits of key
	// number. A slot of another generation is empty. The number of slots is a power of two.
	slots      []uint64
	generation uint16
	keys       []dictKey
}

type dictKey struct {
	scope uint64
	id    string
}

const (
	minDictSlots = 64
	tagMask      = 0xffff << 48
)

// hashSeed keeps producers from choosing ids that collide.
var hashSeed = maphash.MakeSeed()

func (d *dict) reset() {
	d.keys = d.keys[:0]
	d.generation++
	if d.generation == 0 {
		clear(d.slots)
		d.generation = 1
	}
}

func dictHash(scope uint64, id string) uint64 {
	h := maphash.String(hashSeed, id)
	if scope != 0 {
		h ^= scope * 0x9e3779b97f4a7c15
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
	}
	return h
}

// find returns the number of the key, or, if it is not there, the hash to [dict.insert] it with.
func (d *dict) find(scope uint64, id string) (number uint32, hash uint64, ok bool) {
	hash = dictHash(scope, id)
	if len(d.slots) == 0 {
		return 0, hash, false
	}
	mask := uint64(len(d.slots) - 1)
	tag := d.tag(hash)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := d.slots[i&mask]
		if uint16(slot>>32) != d.generation {
			return 0, hash, false
		}
		if slot>>32 == tag>>32 {
			number = uint32(slot)
			if key := &d.keys[number]; key.scope == scope && key.id == id {
				return number, hash, true
			}
		}
	}
}

// insert adds a key that find did not find, and returns its number. The dict keeps id.
func (d *dict) insert(scope uint64, id string, hash uint64) uint32 {
	if len(d.keys) >= len(d.slots)/2 {
		d.grow()
	}
	number := uint32(len(d.keys))
	d.keys = append(d.keys, dictKey{scope, id})
	d.put(hash, number)
	return number
}

func (d *dict) tag(hash uint64) uint64 { return hash&tagMask | uint64(d.generation)<<32 }

func (d *dict) put(hash uint64, number uint32) {
	mask := uint64(len(d.slots) - 1)
	i := hash & mask
	for uint16(d.slots[i]>>32) == d.generation {
		i = (i + 1) & mask
	}
	d.slots[i] = d.tag(hash) | uint64(number)
}

func (d *dict) grow() {
	d.slots = make([]uint64, max(minDictSlots, 2*len(d.slots)))
	d.generation = 1
	for i, key := range d.keys {
		d.put(dictHash(key.scope, key.id), uint32(i))
	}
}
