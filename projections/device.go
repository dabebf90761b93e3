package projections

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
)

// devices are what an author's devices have acknowledged, once one has named itself: docs/rules.md,
// "Devices".
type devices struct {
	// known are those that are known, the ones named longest ago first.
	known []device
	// seen is the largest sequence that any device has acknowledged. The items with numbers below
	// next are acknowledged by the one that has; there may be others.
	seen, next uint64
}

// device is a device that has named itself, and how far it has acknowledged the summary.
type device struct {
	name string
	// seen and next are as in devices, for this one.
	seen, next uint64
	// named is when it last named itself.
	named   int64
	dropped dropped // that it had not acknowledged
}

// devicesCost and deviceCost are the memory of the author's devices, and of one.
const (
	devicesCost = 64
	deviceCost  = 64
	// showAgain is how old named has to be for an event that renews it to be worth its cost.
	showAgain = 24 * time.Hour
)

func (ds *devices) cost() int {
	if ds == nil {
		return 0
	}
	n := devicesCost
	for i := range ds.known {
		n += deviceCost + len(ds.known[i].name)
	}
	return n
}

// find returns a known device, or nil.
func (ds *devices) find(name string) *device {
	if ds == nil {
		return nil
	}
	for i := range ds.known {
		if d := &ds.known[i]; d.name == name {
			return d
		}
	}
	return nil
}

// floor is up to where all known devices have acknowledged.
func (ds *devices) floor() uint64 {
	if ds == nil || len(ds.known) == 0 {
		return 0
	}
	low := uint64(math.MaxUint64)
	for i := range ds.known {
		low = min(low, ds.known[i].seen)
	}
	return low
}

// told says what a device is told, or an author who names none or one that is not known: the items
// that have news after seen, none of which has a smaller number than next.
func (u *author) told(name string) (seen, next, dropped uint64) {
	if d := u.devices.find(name); d != nil {
		return d.seen, d.next, d.dropped.items
	}
	if u.devices != nil {
		seen, next = u.devices.seen, u.devices.next
	}
	return seen, next, u.dropped.items
}

// name notes that a device was named at a time, and returns it. What is known of others that were
// named too long ago is forgotten.
func (u *author) name(name string, at int64, limit int) *device {
	if u.devices == nil {
		u.devices = new(devices)
	}
	ds := u.devices
	for i := range ds.known {
		ds.known[i].named = min(ds.known[i].named, at)
	}
	d := device{name: strings.Clone(name), seen: ds.seen, next: ds.next, dropped: u.dropped}
	if x := ds.find(name); x != nil {
		d = *x
	}
	d.named = at
	ds.known = slices.DeleteFunc(ds.known, func(x device) bool {
		return x.name == name || at-x.named > events.DeviceFor.Milliseconds()
	})
	if len(ds.known) == limit {
		ds.known = slices.Delete(ds.known, 0, 1)
	}
	ds.known = append(ds.known, d)
	return &ds.known[len(ds.known)-1]
}

// seenOn notes that a device has acknowledged up to a sequence.
func (p *Partition) seenOn(u *author, name string, upto uint64) error {
	floor, before := u.devices.floor(), u.cost()
	d := u.name(name, p.position.clock.now, p.rules.limits.Devices)
	p.cache.bytes += u.cost() - before
	p.changes.touchAuthor(u)

	upto = min(upto, p.position.seq-1)
	d.seen, u.devices.seen = max(d.seen, upto), max(u.devices.seen, upto)
	d.dropped.acknowledge(upto)
	u.dropped.acknowledge(upto)
	return p.passItems(u, d, floor)
}

// passItems moves a device on to the first item that it has not acknowledged. If all devices have
// come further than floor, what all of them have acknowledged leaves the list.
func (p *Partition) passItems(u *author, d *device, floor uint64) error {
	from, low := d.next, u.devices.floor()
	if low > floor {
		from = 0
	}
	items, err := p.summaryItems(u, from, u.next)
	if err != nil {
		return err
	}
	next := u.next
	for _, x := range items {
		if low <= floor && next < u.next {
			break
		}
		c, m, err := p.resolve(x.value)
		if err != nil {
			return err
		}
		switch place := p.placeOf(u, c, m); {
		case place.last <= low:
			p.removeItem(u, x.n)
		case place.last > d.seen:
			next = min(next, x.n)
		}
	}
	d.next = next
	if d.seen == u.devices.seen {
		u.devices.next = max(u.devices.next, next)
	}
	return nil
}

// missed notes that an item is pushed out of a summary, for those who have not acknowledged it.
func (p *Partition) missed(u *author, x summaryRef) error {
	last := uint64(math.MaxUint64)
	if u.devices != nil {
		c, m, err := p.resolve(x)
		if err != nil {
			return err
		}
		last = p.placeOf(u, c, m).last
		for i := range u.devices.known {
			if d := &u.devices.known[i]; d.seen < last {
				d.dropped.add(p.position.seq)
			}
		}
	}
	if u.devices == nil || u.devices.seen < last {
		u.dropped.add(p.position.seq)
	}
	return nil
}

// acknowledgeDropped notes that what was dropped up to a sequence was told, on whichever device. It
// reports whether anything was.
func (u *author) acknowledgeDropped(upto uint64) (any bool) {
	any = u.dropped.acknowledge(upto)
	if u.devices == nil {
		return any
	}
	for i := range u.devices.known {
		any = u.devices.known[i].dropped.acknowledge(upto) || any
	}
	return any
}

// KnowsDevice reports whether a device of an author is known, and was named within the last day: it
// need not be named again.
func (p *Partition) KnowsDevice(appKey, user, device string) (bool, error) {
	a := p.app(appKey)
	return query(p, func() (bool, error) {
		if a == nil {
			return true, nil // there is nothing it could be told
		}
		u, err := p.author(a, user)
		if err != nil {
			return false, err
		}
		d := u.devices.find(device)
		return d != nil && p.position.clock.now-d.named <= showAgain.Milliseconds(), nil
	})
}

// encode appends the stored layout.
func (ds *devices) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, ds.seen), ds.next)
	dst = binary.AppendUvarint(dst, uint64(len(ds.known)))
	for i := range ds.known {
		d := &ds.known[i]
		dst = binary.AppendUvarint(binary.AppendUvarint(appendString(dst, d.name), d.seen), d.next)
		dst = appendInt(dst, d.named)
		dst = d.dropped.encode(dst)
	}
	return dst
}

func decodeDevices(r *reader) *devices {
	ds := &devices{seen: r.uvarint(), next: r.uvarint()}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		d := device{name: r.string(), seen: r.uvarint(), next: r.uvarint()}
		d.named = r.varint()
		d.dropped.decode(r)
		ds.known = append(ds.known, d)
	}
	return ds
}
