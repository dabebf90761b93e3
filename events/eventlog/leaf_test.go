package eventlog

import (
	"testing"

	"github.com/receiptd/receiptd/events"
)

// The leaf of an outside producer's entry binds the name that may be its event's id; that of a
// batch does not, whose name a publisher draws anew for each try.
func TestLeafBindsWhatNamesAnEvent(t *testing.T) {
	for subject, binds := range map[string]bool{
		events.BatchSubject(1): false, "receipts.v1.1.message-read.acme.chat": true, "receipts.v1.1.unheard-of.acme.chat": true,
	} {
		one, other := Leaf(Entry{Sequence: 1, Subject: subject, MsgID: "a"}), Leaf(Entry{Sequence: 1, Subject: subject, MsgID: "b"})
		if got := one != other; got != binds {
			t.Errorf("%s: the name is bound: %v", subject, got)
		}
	}
}
