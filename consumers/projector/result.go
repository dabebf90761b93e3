package projector

import (
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
)

// RebuildResult is the outcome of a rebuild. As JSON it is what receiptctl verify prints.
type RebuildResult struct {
	// Node is whose state it was, of a cluster's nodes; empty for a server that is alone.
	Node string `json:"node,omitempty"`
	// Equal reports whether the replayed state equals the live one, and the replayed tree has the
	// heads that the log is known to have had, in every partition.
	Equal      bool    `json:"equal"`
	Events     uint64  `json:"events"`
	Seconds    float64 `json:"seconds"`
	EventsPerS float64 `json:"events_per_s"`
	Switched   bool    `json:"switched,omitempty"`
	// CaughtUp is how many events of the log a stopped server's state lacked, and were folded
	// into it before.
	CaughtUp   uint64            `json:"events_caught_up,omitempty"`
	Partitions []PartitionResult `json:"partitions"`
	// Elsewhere are the partitions that are not here: other nodes prove those.
	Elsewhere []int `json:"elsewhere,omitempty"`
	// Log is what the log's own files were found to hold, by verify; nil if they were not read.
	Log *eventlog.Inspection `json:"log,omitempty"`
}

// PartitionResult compares the two states of one partition.
type PartitionResult struct {
	Partition int `json:"partition"`
	// Position is the log entry at which both states were taken.
	Position uint64 `json:"position"`
	// After is the entry of the snapshot that the replay began from: what is proven is that the
	// entries after it lead from there to the state. 0 = the replay folded all.
	After uint64 `json:"after,omitempty"`
	// Live and Replayed are the digests. Live is empty if the live state stands at an earlier
	// position, because the log does not hold what follows it: there is nothing to compare
	// then.
	Live     string `json:"live"`
	Replayed string `json:"replayed"`
	// Keys is the number of keys in the replayed state.
	Keys int `json:"keys"`
	// Tree is the head of the Merkle tree of the log at the position, as it was replayed: two
	// copies of a log are the same up to there if it is.
	Tree merkle.Head `json:"tree"`
	// HeadsChecked is how many earlier heads of the log, signed or witnessed, the tree was found
	// to have had. Rewritten is the first that it did not have: the log was changed before it.
	HeadsChecked int          `json:"heads_checked,omitempty"`
	Rewritten    *merkle.Head `json:"rewritten,omitempty"`
	// Difference is where the states differ first; nil if they are equal.
	Difference *Difference `json:"difference,omitempty"`
}

// Difference is where a live state and a replayed one differ first. Live and Replayed are the
// values in hex.
type Difference struct {
	Key      string `json:"key"`
	What     string `json:"what"`
	Live     string `json:"live,omitempty"`
	Replayed string `json:"replayed,omitempty"`
}
