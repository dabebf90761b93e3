package projections

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/receiptd/receiptd/events/merkle"
)

// logTree is the Merkle tree of the entries that were folded. In memory is its right edge; all that
// is behind it is written as it is completed.
type logTree struct {
	base uint64 // the sequence before the first leaf's
	edge merkle.Edge
}

// growTree adds an entry to the tree. Where the hash of an entry is not known, the tree begins anew
// after it.
func (p *Partition) growTree(x *Decoded) {
	t := &p.tree
	known := x.Leaf != merkle.Hash{}
	if !known || x.Sequence != t.base+t.edge.Size()+1 {
		p.dropTree()
		t.base, t.edge = x.Sequence, merkle.Edge{}
		if known {
			t.base--
		}
	}
	if known {
		t.edge.Add(x.Leaf, p.putTile)
	}
}

func (p *Partition) putTile(level int, n uint64, hashes []byte) {
	p.changes.put(tileKey(p.scratch.key(), level, n), hashes)
}

// dropTree removes all that is stored of the tree.
func (p *Partition) dropTree() {
	size := p.tree.edge.Size()
	if size == 0 {
		return
	}
	p.tree.edge.EachChanged(p.putTile) // so that they are there to be removed
	for level, n := 0, size; n > 0; level, n = level+1, n/256 {
		for tile := range (n + 255) / 256 {
			p.changes.del(tileKey(p.scratch.key(), level, tile))
		}
	}
	p.changes.del(treeKey(p.scratch.key()))
}

// captureTree writes what changed at the edge, and how large the tree is.
func (p *Partition) captureTree() {
	t := &p.tree
	if t.edge.Size() == 0 {
		return
	}
	t.edge.EachChanged(p.putTile)
	v := binary.AppendUvarint(nil, t.base)
	v = binary.AppendUvarint(v, t.edge.Size())
	p.changes.put(treeKey(p.scratch.key()), v)
}

// loadTree loads the edge. A state without a tree, that of an earlier version, begins one after its
// position.
func (p *Partition) loadTree() (err error) {
	stored, err := StoredTree(p.back.Get)
	if err != nil {
		return err
	}
	t := &p.tree
	t.base = stored.Base
	if stored.Size == 0 {
		t.base = p.position.seq
	} else if stored.Base+stored.Size != p.position.seq {
		return fmt.Errorf("the tree of the log ends with entry %d, the state stands at entry %d", stored.Base+stored.Size, p.position.seq)
	}
	edge, err := merkle.OpenEdge(stored.Size, stored.Tiles)
	if err == nil {
		t.edge = *edge
	}
	return err
}

// errNoTile is returned for a tile that is not stored, which is a damaged state.
var errNoTile = errors.New("a tile of the log's tree is missing")

// StoredTree is the tree of the log as a checkpoint has it, whose values get returns; nil for a
// key that is not there.
func StoredTree(get func(key []byte) ([]byte, error)) (merkle.Tree, error) {
	v, err := get(treeKey(nil))
	if err != nil || v == nil {
		return merkle.Tree{}, err
	}
	r := reader{b: v}
	t := merkle.Tree{Base: r.uvarint(), Size: r.uvarint()}
	t.Tiles = func(level int, n uint64) ([]byte, error) {
		tile, err := get(tileKey(nil, level, n))
		if err == nil && tile == nil {
			err = errNoTile
		}
		return tile, err
	}
	return t, r.err()
}

func treeKey(dst []byte) []byte { return append(dst, tableTree) }

func tileKey(dst []byte, level int, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(treeKey(dst), byte(level)), n)
}
