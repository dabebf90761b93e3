package events

import (
	"bytes"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
)

// EventBytes is what an [Event] takes in memory, without what its strings and lists point to.
const EventBytes = int64(unsafe.Sizeof(Event{}))

// nameBytes is what the name of a member takes in a list, beside its text.
const nameBytes = int64(unsafe.Sizeof(""))

// DecodedBytes tells what the events of a body take in memory when they are decoded, beside the
// body itself, of which at most so many are decoded. It decodes nothing and takes a small part of
// the time for that; it may say too much, and says too little for no valid body.
func (f Format) DecodedBytes(body []byte, most int) int64 {
	// Each event has a brace, each list of names a bracket, each name but the first a comma. A name
	// may be that of a message, and become an event.
	n, names := bytes.Count(body, []byte{'{'}), 0
	lists := bytes.Count(body, []byte{'['})
	if f == FormatJSON {
		lists-- // that of the events
	}
	if lists > 0 {
		names = bytes.Count(body, []byte{','}) + lists
	}
	return int64(min(n+names, most))*EventBytes + int64(names)*nameBytes
}

// EventListBytes is [Format.DecodedBytes] for an EventList, the public protobuf format.
func EventListBytes(body []byte, most int) (size int64) {
	// A long event may be one with lists: a name takes three bytes of it at least.
	const long, name = 512, 3
	const tag = eventListEvents<<3 | byte(protowire.BytesType)
	n, names := 0, 0
	for ; len(body) > 1 && body[0] == tag && n < most; n++ {
		event, used := uint64(body[1]), 1
		if event >= 0x80 {
			if event, used = varint(body[1:]); used <= 0 {
				break
			}
		}
		if event > uint64(len(body)-1-used) {
			break // malformed from here on
		}
		if event > long {
			names += int(event) / name
		}
		body = body[1+used+int(event):]
	}
	return int64(min(n+names, most))*EventBytes + int64(names)*nameBytes
}
