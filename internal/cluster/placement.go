package cluster

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// rank orders nodes by how much a partition prefers them: by the highest of their hashes with it
// (rendezvous hashing). All who know the same nodes come to the same order, each node is first for
// about as many of very many partitions as any other, and one that comes or goes changes nothing in
// the order of the others.
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

// spread gives each partition so many of the nodes, those that it prefers among those that have not
// their full share yet (rendezvous hashing with bounded loads): few partitions would otherwise come
// to lie on few nodes. A share is full an eighth above the mean: the less room there is above it,
// the more copies that need not move do when a node comes or goes.
func spread(partitions, copies int, nodes []string) [][]string {
	total, count := partitions*copies, max(1, len(nodes))
	full := (total+count-1)/count + total/(8*count)
	has := make(map[string]int, len(nodes))
	all := make([][]string, partitions)
	for k := range all {
		order := rank(k, nodes)
		slices.SortStableFunc(order, func(a, b string) int {
			return cmp.Compare(has[a]/full, has[b]/full) // whoever is full comes after all others
		})
		all[k] = order[:min(copies, len(order))]
		for _, node := range all[k] {
			has[node]++
		}
	}
	return all
}

// mix makes of a hash whose neighbours are alike one whose bits all depend on all (the finalizer of
// MurmurHash3): FNV leaves the high bits of short texts nearly the same.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
