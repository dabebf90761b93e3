package feed

import (
	"strings"

	"github.com/receiptd/receiptd/projections"
)

// effects are some that are kept, in the order of their sequences.
type effects struct {
	list  []projections.Effect
	bytes int
}

// effectBytes is what an effect takes beside its texts.
const effectBytes = 256

// add keeps an effect, whose texts belong to the fold.
func (l *effects) add(e *projections.Effect) {
	x := *e
	for _, text := range []*string{&x.App, &x.To, &x.Peer, &x.EventID, &x.Group, &x.Message, &x.Reader, &x.Content} {
		*text = strings.Clone(*text)
	}
	l.list = append(l.list, x)
	l.bytes += size(&x)
}

func size(e *projections.Effect) int {
	return effectBytes + len(e.App) + len(e.To) + len(e.Peer) + len(e.EventID) + len(e.Group) + len(e.Message) + len(e.Reader) + len(e.Content)
}

// forget drops those of the entries up to one.
func (l *effects) forget(upto uint64) {
	rest := after(l.list, upto)
	for i := range l.list[:len(l.list)-len(rest)] {
		l.bytes -= size(&l.list[i])
	}
	if l.list = rest; len(rest) == 0 {
		*l = effects{} // a burst must not leave its memory behind
	}
}

// head are the first ones, of whole entries, and not many more than so many bytes.
func (l *effects) head(bytes int) []projections.Effect {
	for i := range l.list {
		if bytes <= 0 && l.list[i].Sequence != l.list[i-1].Sequence {
			return l.list[:i]
		}
		bytes -= size(&l.list[i])
	}
	return l.list
}

// after are the effects of the entries after one.
func after(list []projections.Effect, sequence uint64) []projections.Effect {
	for len(list) > 0 && list[0].Sequence <= sequence {
		list = list[1:]
	}
	return list
}
