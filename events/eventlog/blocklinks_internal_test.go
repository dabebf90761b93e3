package eventlog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// BenchmarkNoteBlocks: what the witness costs for a stream with 128 blocks beside the log, each
// time that something may have changed.
func BenchmarkNoteBlocks(b *testing.B) {
	for name, changes := range map[string]bool{"unchanged": false, "changed": true} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			s := blockfile.Stream{Dir: streamDir(dir, "S"), Name: "S"}
			must := func(err error) {
				if err != nil {
					b.Fatal(err)
				}
			}
			must(os.MkdirAll(filepath.Dir(s.BlockPath(1)), 0o700))
			for i := range 128 {
				must(os.WriteFile(s.BlockPath(i+1), []byte("a block"), 0o600))
			}
			l := blockLinks{dir: dir, noted: map[string]noted{}}
			_, err := l.note("S")
			must(err)
			for b.Loop() {
				if changes {
					clear(l.noted)
				}
				_, err := l.note("S")
				must(err)
			}
		})
	}
}
