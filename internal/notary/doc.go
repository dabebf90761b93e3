// Package notary signs the heads of the log's Merkle trees, keeps some of them, and makes of them
// what others can check: checkpoints, proofs, and evidence that a message was read.
//
// It signs nothing that contradicts what it signed before: a tree that lacks the last head which
// was kept or witnessed stops it.
package notary
