package cluster

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// rank orders nodes by how much a partition prefers them: by the highest of their hashes with it
// (rendezvous hashing). All who know the same nodes come to the same order, each node is first for
// about as many partitions as any other, and one that comes or goes changes nothing in the order of
// the others.
func rank(partition int, nodes []string) []string {
	type ranked struct {
		node string
		hash uint64
	}
	list := make([]ranked, len(nodes))
	for i, node := range nodes {
		h := fnv.New64a()
		_, _ = h.Write([]byte(node + "\x00" + strconv.Itoa(partition))) // never fails
		list[i] = ranked{node, mix(h.Sum64())}
	}
	slices.SortFunc(list, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.hash, a.hash), cmp.Compare(a.node, b.node)) })
	order := make([]string, len(list))
	for i := range list {
		order[i] = list[i].node
	}
	return order
}

// mix makes of a hash whose neighbours are alike one whose bits all depend on all (the finalizer of
// MurmurHash3): FNV leaves the high bits of short texts nearly the same.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
