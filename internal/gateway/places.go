package gateway

import (
	"encoding/binary"
	"slices"

	"github.com/receiptd/receiptd/projections"
)

// ConversationPlace is the place that a conversation has in a user's list: what it is called, so
// that a page begins where the one before ended, whatever was joined or left meanwhile.
func ConversationPlace(group, peer string) string {
	if group != "" {
		return "g" + group
	}
	return "p" + peer
}

// ConversationAt is the conversation whose place it is; ok is false if it is no place.
func ConversationAt(place string) (v projections.ConversationView, ok bool) {
	switch {
	case place == "":
		return v, true
	case len(place) < 2:
		return v, false
	case place[0] == 'g':
		v.Group = place[1:]
	case place[0] == 'p':
		v.Peer = place[1:]
	default:
		return v, false
	}
	return v, true
}

// A page of [Walk] is found in so many conversations, and ends once so many messages of them were
// looked at, since somebody in many groups may have nothing there.
const (
	MaxWalkConversations = 100
	MaxWalkLook          = 2000
)

// Walk finds a page of messages in a user's conversations, one conversation after the other, from
// a place on that an earlier page returned; empty is the beginning. look finds at most limit in a
// conversation, before a number as [projections.Partition.Reads] has it, and returns how many it
// found and looked at, and the number to go on with. Walk returns the place of the next page, empty
// after the last one; ok is false if there is no such place.
func Walk(
	list []projections.ConversationView, place string, limit int,
	look func(v *projections.ConversationView, before uint64, limit int) (found, looked int, next uint64, err error),
) (next string, ok bool, err error) {
	last, before, ok := walkAt(place)
	if !ok {
		return "", false, nil
	}
	from := 0
	if place != "" {
		if from, ok = slices.BinarySearchFunc(list, last, func(x, y projections.ConversationView) int { return x.Compare(&y) }); !ok {
			before = 0
		}
	}
	found, looked := 0, 0
	for i := from; i < len(list); i++ {
		v := &list[i]
		if found == limit || i == from+MaxWalkConversations || looked >= MaxWalkLook {
			return walkPlace(v, before), true, nil
		}
		n, l, on, err := look(v, before, limit-found)
		if err != nil {
			return "", true, err
		}
		found, looked = found+n, looked+l
		if before = on; before != 0 {
			return walkPlace(v, before), true, nil
		}
	}
	return "", true, nil
}

// walkPlace is the place before a message of a conversation.
func walkPlace(v *projections.ConversationView, before uint64) string {
	return string(binary.AppendUvarint(nil, before)) + ConversationPlace(v.Group, v.Peer)
}

// walkAt is the conversation, and the message in it, whose place it is; ok is false if it is no
// place.
func walkAt(place string) (v projections.ConversationView, before uint64, ok bool) {
	if place == "" {
		return v, 0, true
	}
	before, n := binary.Uvarint([]byte(place))
	if n <= 0 || n == len(place) {
		return v, 0, false
	}
	v, ok = ConversationAt(place[n:])
	return v, before, ok
}
