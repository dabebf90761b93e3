// Package fold keeps the state that a partition's log is folded into: on disk a directory for each
// generation of it, beside a file that names the current one, and in memory the fold itself with
// its checkpoints. It is for the consumers that fold, each of which has directories of its own.
package fold
