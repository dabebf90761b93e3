package projections

import (
	"encoding/binary"
	"strings"
)

// labels numbers the labels of an app's messages, from 1. A label keeps its number for good. They
// stay in memory, and only grow.
type labels struct {
	names  []string
	byName map[string]uint16
}

// name is the label with a number; empty for 0, no label.
func (l *labels) name(number uint16) string {
	if number == 0 {
		return ""
	}
	return l.names[number-1]
}

func (l *labels) add(name string) uint16 {
	if l.byName == nil {
		l.byName = map[string]uint16{}
	}
	l.names = append(l.names, name)
	l.byName[name] = uint16(len(l.names))
	return uint16(len(l.names))
}

// labelOf is the number of the label of a message that is sent by an event; 0 if it has none, or
// one more than are counted.
func (p *Partition) labelOf(a *app, event int) uint16 {
	batch := p.scratch.batch
	if len(batch.Labels) == 0 || batch.Labels[event] == "" {
		return 0
	}
	name := batch.Labels[event]
	number, known := a.labels.byName[name]
	if !known && len(a.labels.names) < p.rules.limits.Labels {
		name = strings.Clone(name)
		number = a.labels.add(name)
		p.changes.put(labelKey(p.scratch.key(), a.num, number), []byte(name))
	}
	return number
}

// loadLabels fills the labels of all apps.
func (p *Partition) loadLabels() error {
	return p.back.Scan([]byte{tableLabel}, func(key, value []byte) error {
		r := reader{b: key[1:]}
		num := r.uvarint()
		if r.bad || len(r.b) != 2 || num >= uint64(len(p.apps.byNum)) || len(value) == 0 {
			return errCorrupt
		}
		// The keys are in the order of the numbers.
		if p.apps.byNum[num].labels.add(string(value)) != binary.BigEndian.Uint16(r.b) {
			return errCorrupt
		}
		return nil
	})
}
