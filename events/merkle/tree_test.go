package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive is the hash over leaves as RFC 6962 defines it, without anything that is kept.
func naive(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := naive(leaves[:k]), naive(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func someLeaf(n int) Hash {
	return Stored{Sequence: uint64(n), Time: time.Unix(int64(n), 7), Subject: "receipts.v1.0.batch", Data: fmt.Append(nil, "data of ", n)}.Leaf()
}

// stored keeps what an edge gives away, as a store would.
type stored map[[2]uint64][]byte

func (s stored) put(level int, n uint64, hashes []byte) {
	s[[2]uint64{uint64(level), n}] = slices.Clone(hashes)
}

func (s stored) tiles(level int, n uint64) ([]byte, error) {
	tile, ok := s[[2]uint64{uint64(level), n}]
	if !ok {
		return nil, fmt.Errorf("no tile %d of level %d", n, level)
	}
	return tile, nil
}

// grow adds leaves to a tree, stores it now and then, and opens it again each time.
func grow(t testing.TB, s stored, leaves []Hash, storeEvery func(n int) bool) Tree {
	t.Helper()
	e := &Edge{}
	for n, leaf := range leaves {
		e.Add(leaf, s.put)
		if n+1 == len(leaves) || storeEvery(n) {
			e.EachChanged(func(level int, n uint64, hashes []byte) {
				if len(hashes) == 0 || len(hashes) == tileBytes {
					t.Fatalf("size %d: a tile of %d bytes is not full", e.Size(), len(hashes))
				}
				s.put(level, n, hashes)
			})
			again, err := OpenEdge(e.Size(), s.tiles)
			if err != nil {
				t.Fatalf("size %d: %v", e.Size(), err)
			}
			e = again
		}
	}
	return Tree{Size: e.Size(), Tiles: s.tiles}
}

// A tree has the head of the definition at each of its sizes, however often it was stored.
func TestHeadsAreThoseOfTheDefinition(t *testing.T) {
	const size = 1100
	leaves := make([]Hash, size)
	for n := range leaves {
		leaves[n] = someLeaf(n)
	}
	for _, every := range []int{1, 7, 256, 257, size} {
		tree := grow(t, stored{}, leaves, func(n int) bool { return n%every == 0 })
		for n := range size + 1 {
			head, err := tree.Head(uint64(n))
			if want := naive(leaves[:n]); err != nil || head.Root != want {
				t.Fatalf("stored every %d, size %d: %v, %v; want %v", every, n, head.Root, err, want)
			}
		}
	}
}

// Beyond 65,536 entries there is a third level of tiles.
func TestHeadsOfALargeTree(t *testing.T) {
	leaves := make([]Hash, 1<<16+700)
	for n := range leaves {
		binary.LittleEndian.PutUint64(leaves[n][:], uint64(n))
	}
	tree := grow(t, stored{}, leaves, func(n int) bool { return n%4999 == 0 })
	for _, n := range []int{1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<16 + 255, 1<<16 + 256, len(leaves)} {
		if head, err := tree.Head(uint64(n)); err != nil || head.Root != naive(leaves[:n]) {
			t.Errorf("size %d: %v, %v", n, head, err)
		}
	}
}

// Proofs hold for any two sizes and any entry, and for nothing else.
func TestProofsHoldAndNothingElseDoes(t *testing.T) {
	const size, base = 700, 40
	leaves := make([]Hash, size)
	for n := range leaves {
		leaves[n] = someLeaf(n)
	}
	tree := grow(t, stored{}, leaves, func(n int) bool { return n%100 == 0 })
	tree.Base = base
	head := func(t *rapid.T, n int) Head {
		h, err := tree.Head(uint64(n))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	rapid.Check(t, func(t *rapid.T) {
		to := rapid.IntRange(1, size).Draw(t, "to")
		from := rapid.IntRange(1, to).Draw(t, "from")
		proof, err := tree.ProveConsistency(uint64(from), uint64(to))
		if err != nil {
			t.Fatal(err)
		}
		old, now := head(t, from), head(t, to)
		if err := CheckConsistency(proof, old, now); err != nil {
			t.Fatalf("from %d to %d: %v", from, to, err)
		}
		for _, change := range []func(*Head, *Head){
			func(old, _ *Head) { old.Root[3] ^= 1 },
			func(_, now *Head) { now.Root[31] ^= 0x80 },
			func(old, _ *Head) { old.Base++ },
		} {
			a, b := old, now
			if change(&a, &b); CheckConsistency(proof, a, b) == nil {
				t.Fatalf("from %d to %d: a changed head passes", from, to)
			}
		}
		entry := rapid.IntRange(1, to).Draw(t, "entry")
		path, err := tree.ProveEntry(uint64(base+entry), uint64(to))
		if err != nil {
			t.Fatal(err)
		}
		leaf := leaves[entry-1]
		if got, err := tree.Leaf(uint64(base + entry)); err != nil || got != leaf {
			t.Fatalf("leaf of %d: %v, %v", entry, got, err)
		}
		if err := checkEntry(path, now, uint64(base+entry), leaf); err != nil {
			t.Fatalf("entry %d of %d: %v", entry, to, err)
		}
		other := uint64(base + entry%size + 1)
		if checkEntry(path, now, other, leaf) == nil {
			t.Fatalf("entry %d passes for %d of %d", entry, other, to)
		}
		leaf[0] ^= 1
		if checkEntry(path, now, uint64(base+entry), leaf) == nil {
			t.Fatalf("another entry %d passes", entry)
		}
	})
	for _, n := range []uint64{0, base, base + size + 1} {
		if _, err := tree.ProveEntry(n, size); err == nil {
			t.Errorf("entry %d is proven", n)
		}
	}
	if _, err := tree.Head(size + 1); err == nil {
		t.Error("a head beyond the tree")
	}
}

// A leaf binds everything about its entry.
func TestLeafBindsTheEntry(t *testing.T) {
	at := time.Unix(1, 5)
	list := []Stored{
		{1, at, "s", "", []byte("d")}, {2, at, "s", "", []byte("d")}, {1, at.Add(1), "s", "", []byte("d")}, {1, at, "t", "", []byte("d")},
		{1, at, "s", "", []byte("e")}, {1, at, "s", "", nil}, {1, at, "sd", "", nil},
		{1, at, "s", "i", []byte("d")}, {1, at, "s", "j", []byte("d")}, {1, at, "s", "d", nil},
	}
	for i, a := range list {
		for j, b := range list[:i] {
			if a.Leaf() == b.Leaf() {
				t.Errorf("entries %d and %d have one leaf", i, j)
			}
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	for _, size := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data, at := make([]byte, size), time.Unix(1, 5)
			var e Edge
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				e.Add(Stored{Sequence: 1, Time: at, Subject: "receipts.v1.0.batch", Data: data}.Leaf(), func(int, uint64, []byte) {})
			}
		})
	}
}
