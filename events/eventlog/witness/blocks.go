package witness

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// Block is a block file: its number, and how many bytes of it are on the disk at least.
type Block struct {
	Index int
	Size  int64
}

// String is "index:size".
func (b Block) String() string { return fmt.Sprintf("%d:%d", b.Index, b.Size) }

// Blocks are block files, as "index:size", separated by spaces. A string, so that attestations
// are compared.
type Blocks string

// Join lists blocks.
func Join(list []Block) Blocks {
	words := make([]string, len(list))
	for i, b := range list {
		words[i] = b.String()
	}
	return Blocks(strings.Join(words, " "))
}

// All are the blocks. A word that is none is passed over: the witness has a checksum.
func (b Blocks) All() iter.Seq[Block] {
	return func(yield func(Block) bool) {
		for word := range strings.FieldsSeq(string(b)) {
			index, size, _ := strings.Cut(word, ":")
			i, err := strconv.Atoi(index)
			if err != nil {
				continue
			}
			n, err := strconv.ParseInt(size, 10, 64)
			if err == nil && !yield(Block{Index: i, Size: n}) {
				return
			}
		}
	}
}
