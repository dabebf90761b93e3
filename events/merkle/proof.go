package merkle

// Consistency proves that a later head of a tree rewrote nothing of an earlier one.
type Consistency struct {
	// From and To are the signed heads, the earlier one first.
	From string `json:"from"`
	To   string `json:"to"`
	// Proof is as RFC 6962 has it.
	Proof []Hash `json:"proof"`
}

// Inclusion proves that an entry is under a head.
type Inclusion struct {
	Sequence uint64 `json:"sequence"`
	// Leaf is the hash of the entry, Path the path from there to the head, as in RFC 6962.
	Leaf Hash   `json:"leaf"`
	Path []Hash `json:"path"`
	// Checkpoint is the signed head.
	Checkpoint string `json:"checkpoint"`
}
