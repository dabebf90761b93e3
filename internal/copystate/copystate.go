// Package copystate says whether a process has a copy of a partition's state. Whoever folds and
// whoever has nodes bring copies do not know each other, and mean the same by it.
package copystate

// State is whether there is a copy.
type State int

const (
	// Absent: there is none, in memory or on the disk, and nothing of the partition is folded.
	Absent State = iota
	// Arriving: there is one that is not complete: it is folded up to where the log ended when it
	// was begun, and answers nothing before that.
	Arriving
	// Here: there is one. Whether it answers is another question.
	Here
)
