package notary

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events/merkle"
)

// seeded is a source of the same bytes each time: the workers of a fuzz target have one key.
type seeded struct{ sum [sha256.Size]byte }

// Read implements [io.Reader].
func (s *seeded) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		s.sum = sha256.Sum256(s.sum[:])
		n += copy(p[n:], s.sum[:])
	}
	return n, nil
}

// FuzzKept: whatever is in the file of the kept heads, it is refused, or has heads that the log's
// key signed for the partition, in the order of the lines, and nothing else.
func FuzzKept(f *testing.F) {
	private, public, err := note.GenerateKey(new(seeded), "receiptd/test")
	if err != nil {
		f.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		f.Fatal(err)
	}
	signed := map[merkle.Head]bool{}
	line := func(partition int, size uint64) []byte {
		head := merkle.Head{Size: size, Root: merkle.Hash{byte(size)}}
		text, err := merkle.Sign(signer, merkle.Origin{Partition: partition, Partitions: 2}, head)
		if err != nil {
			f.Fatal(err)
		}
		signed[head] = signed[head] || partition == 1
		kept, err := json.Marshal(keptHead{time.Unix(1_700_000_000, 0).UTC(), text})
		if err != nil {
			f.Fatal(err)
		}
		return append(append([]byte("\n"), kept...), '\n')
	}
	first, second := line(1, 3), line(1, 7)
	f.Add(append(first, second...))
	f.Add(append(first[:len(first)/2], second...))
	f.Add(line(0, 9))
	f.Add([]byte("null\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		heads, err := parseKept(text, verifier, 1)
		if err != nil {
			if heads != nil {
				t.Errorf("%q: %v beside %v", text, heads, err)
			}
			return
		}
		if len(heads) > bytes.Count(text, []byte("{")) {
			t.Errorf("%q: %d heads", text, len(heads))
		}
		for _, head := range heads {
			if !signed[head] {
				t.Errorf("%q: %+v was not signed", text, head)
			}
		}
	})
}

// FuzzKey: whatever is in the file of the log's key, it is refused, or is a key and its public
// half, which belong together.
func FuzzKey(f *testing.F) {
	private, public, err := note.GenerateKey(new(seeded), "receiptd/test")
	if err != nil {
		f.Fatal(err)
	}
	_, other, err := note.GenerateKey(&seeded{sum: [32]byte{1}}, "receiptd/test")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(private + "\n" + public + "\n"))
	f.Add([]byte(private + "\n" + other + "\n"))
	f.Add([]byte(public + "\n" + private + "\n"))
	f.Add([]byte(private))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), KeyFile)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := readKey(path)
		if err != nil {
			return
		}
		verifier, err := note.NewVerifier(k.public)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		head := merkle.Head{Size: 3, Root: merkle.Hash{7}}
		checkpoint, err := merkle.Sign(k.signer, merkle.Origin{Partition: 1, Partitions: 2}, head)
		if err != nil {
			return // the name is none that can sign
		}
		if _, got, err := merkle.OpenCheckpoint(verifier, checkpoint); err != nil || got != head {
			t.Errorf("%q: what it signs is %+v, %v", text, got, err)
		}
	})
}
