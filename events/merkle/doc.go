// Package merkle makes the entries of a partition a Merkle tree, so that others can check the log
// without having it: one number, the head, stands for every entry up to a position; a path of some
// hashes proves that an entry is under a head, and another one that a later head rewrote nothing.
//
// The tree is as RFC 6962 defines it, with one leaf for each entry. Its hashes are kept in tiles,
// of 256 hashes each, as golang.org/x/mod/sumdb/tlog has them; heads are signed as C2SP
// checkpoints. See ADR 12 for what a leaf binds and what a proof discloses.
package merkle
