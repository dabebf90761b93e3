// Package router asks other nodes for what this one does not answer now: a partition whose state is
// being folded again. It offers the same questions as [projector.Projector] does, and answers those
// of other nodes.
//
// An answer of another node is never older than what this node has said: each question names the
// entry that the copy must have folded, and each answer the last entry that is in it. A question
// over all partitions is answered for all of them or not at all.
package router
