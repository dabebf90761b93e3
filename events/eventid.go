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
// index among all of them.
func NameEventsFrom(key string, first int, events []Event) {
	const index = 8 // bytes: no request has ten million events
	if len(key) > MaxEventIDBytes-index || eventIDProblem(key) != "" {
		sum := sha256.Sum256([]byte(key))
		key = hex.EncodeToString(sum[:len(sum)/2])
	}
	for i := range events {
		if events[i].EventID == "" {
			// Of constant width, as the encoding of an entry has it as a number.
			events[i].EventID = fmt.Sprintf("%s/%05d", key, first+i)
		}
	}
}
