package merkle

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// tileHeight is how many levels of the tree a tile stands for.
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileBytes  = tileWidth * tlog.HashSize
)

// Tiles returns the hashes of a tile: number n of a level, where a tile of level 0 holds leaves,
// and one of the next level the roots of 256 of these. The last one of a level may be shorter.
type Tiles func(level int, n uint64) ([]byte, error)

// Edge is the right edge of a tree that grows: in each level the tile that is being filled. It is
// all that adding a leaf takes, some kilobytes.
type Edge struct {
	size   uint64
	levels []edgeLevel
}

type edgeLevel struct {
	hashes  []byte
	changed bool // since EachChanged
}

// OpenEdge returns the edge of a tree of a size.
func OpenEdge(size uint64, tiles Tiles) (*Edge, error) {
	e := &Edge{size: size}
	for level := 0; size>>(tileHeight*level) > 0; level++ {
		l := edgeLevel{hashes: make([]byte, 0, tileBytes)}
		if want := int(size>>(tileHeight*level)%tileWidth) * tlog.HashSize; want > 0 {
			stored, err := tiles(level, e.filling(level))
			if err != nil {
				return nil, err
			}
			if len(stored) != want {
				return nil, fmt.Errorf("merkle: the last tile of level %d has %d bytes, want %d", level, len(stored), want)
			}
			l.hashes = append(l.hashes, stored...)
		}
		e.levels = append(e.levels, l)
	}
	return e, nil
}

// filling is the number of the tile of a level that is being filled.
func (e *Edge) filling(level int) uint64 { return e.size >> (tileHeight * (level + 1)) }

// Size is how many leaves the tree has.
func (e *Edge) Size() uint64 { return e.size }

// Add adds a leaf, and calls full with every tile that it completes. The hashes are valid during
// the call.
func (e *Edge) Add(leaf Hash, full func(level int, n uint64, hashes []byte)) {
	h := leaf
	for level := 0; ; level++ {
		if level == len(e.levels) {
			e.levels = append(e.levels, edgeLevel{hashes: make([]byte, 0, tileBytes)})
		}
		l := &e.levels[level]
		l.hashes, l.changed = append(l.hashes, h[:]...), true
		if len(l.hashes) < tileBytes {
			break
		}
		full(level, e.filling(level), l.hashes)
		h = subtree(l.hashes)
		l.hashes, l.changed = l.hashes[:0], false
	}
	e.size++
}

// EachChanged calls f with every tile that is not full and has changed since the last call. The
// hashes are valid during the call.
func (e *Edge) EachChanged(f func(level int, n uint64, hashes []byte)) {
	for level := range e.levels {
		if l := &e.levels[level]; l.changed {
			l.changed = false
			f(level, e.filling(level), l.hashes)
		}
	}
}

// subtree is the root over the hashes of a full tile.
func subtree(hashes []byte) Hash {
	if len(hashes) == tlog.HashSize {
		return Hash(hashes)
	}
	half := len(hashes) / 2
	return tlog.NodeHash(subtree(hashes[:half]), subtree(hashes[half:]))
}
