package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// EventIDOf makes the id of an event of a name from outside that may have any length, such as
// Nats-Msg-Id: the name itself if it is a valid event id, else the SHA-256 of it in hexadecimal. An
// empty name makes none.
func EventIDOf(name string) string {
	if name == "" || eventIDProblem(name) == "" {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// EntryName is what names the event of an entry that brings no event id of its own: the entry's
// Nats-Msg-Id, if it is an outside producer's. A batch's is between the publisher and the broker
// and decides nothing.
func EntryName(subject, id string) string {
	if s, err := parseEntrySubject(subject); err == nil && s.batch() {
		return ""
	}
	return id
}

// NameEvents gives those of the events that have no id one that is made of a key for all of them,
// which must not be empty, and of their index. The same events under the same key get the same ids.
func NameEvents(key string, events []Event) { NameEventsFrom(key, 0, events) }

// NameEventsFrom is NameEvents for a part of the events under a key, the first of which has that
// index among all of them. Each id is a valid one, whatever the key and the index.
func NameEventsFrom(key string, first int, events []Event) {
	const usual = 8 // bytes of an index, unless a stream of events goes on and on
	if len(key) > MaxEventIDBytes-usual || eventIDProblem(key) != "" {
		key = hashedKey(key)
	}
	for i := range events {
		if events[i].EventID == "" {
			events[i].EventID = nameEvent(key, first+i)
		}
	}
}

// nameEvent makes the id of one event. It is of constant width, as the encoding of an entry has it
// as a number. The log refuses no id that is too long: nobody could read the entry with it, and the
// events of all others in that.
func nameEvent(key string, index int) string {
	if id := fmt.Sprintf("%s/%05d", key, index); len(id) <= MaxEventIDBytes {
		return id
	}
	return fmt.Sprintf("%s/%05d", hashedKey(key), index)
}

func hashedKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:len(sum)/2])
}
