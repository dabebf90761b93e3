// Package presence says whether a process has a copy of a partition's state. Who folds and who
// places copies on nodes do not know each other, and mean the same by it.
package presence

// Presence is whether there is a copy.
type Presence int

const (
	// Absent: there is none, in memory or on the disk, and nothing of the partition is folded.
	Absent Presence = iota
	// Arriving: there is one that is not complete: it is folded up to where the log ended when it
	// was begun, and answers nothing before that.
	Arriving
	// Here: there is one. Whether it answers is another question.
	Here
)
