package events

import (
	"errors"
	"fmt"
)

// DecodeEntry fills b with the events of a log entry. The subject says what the entry is: a batch,
// or one event of an outside producer, in JSON or as an EventList of one event. Such an event is
// validated; it must be of the kind that the subject names, and the subject's partition must be the
// one that it belongs to in a log of so many partitions. Its App is the subject's. If it has no
// event id, it has the one that [EventIDOf] makes of id, which is what the producer called the
// message: its Nats-Msg-Id. b keeps nothing of data and id.
//
// An error wraps [ErrMalformed] or [ErrVersion], as that of [Batch.Decode] does, and leaves b
// empty.
func DecodeEntry(subject string, data []byte, id string, partitions int, b *Batch) error {
	b.reset()
	if IsLostSubject(subject) {
		return fmt.Errorf("%w: %w: %s", ErrMalformed, ErrLost, data)
	}
	s, err := parseEntrySubject(subject)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if s.batch() {
		return b.Decode(data)
	}
	list, err := decodeSingle(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	event := &list[0]
	event.App = s.app
	if event.Kind != s.kind {
		return malformed("a %s event on the subject of %s", event.Kind, s.kind)
	}
	if p := Partition(event, partitions); p != s.partition {
		return malformed("an event of partition %d of %d on a subject of partition %d", p, partitions, s.partition)
	}
	for i := range list {
		list[i].App = s.app
		if list[i].EventID == "" {
			list[i].EventID = EventIDOf(id)
		}
	}
	b.SetEvents(list)
	return nil
}

// ErrLost is the error of an entry that stands for one which was lost; see [LostSubject].
var ErrLost = errors.New("events: the entry was lost")

var errNotSingle = errors.New("more than one event")

// decodeSingle decodes one event, which is several if it names many messages; the strings share the
// memory of data. An EventList cannot begin with the byte '{', which tells the two formats apart.
func decodeSingle(data []byte) (list []Event, err error) {
	keep := func(i int, e *Event) error {
		if i > 0 {
			return errNotSingle
		}
		list = append(list, *e)
		return nil
	}
	if len(data) > 0 && data[0] == '{' {
		err = new(Decoder).Decode(data, FormatJSON, keep)
	} else {
		err = DecodeEventListOf("", data, keep)
	}
	return list, err
}
