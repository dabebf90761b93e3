package blockfile

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// FuzzMeta: a configuration is read as it was written, under its checksum, or is damaged; the same
// bytes under the name of another stream are damaged.
func FuzzMeta(f *testing.F) {
	text := []byte(`{"name":"S","max_age":3600000000000,"metadata":{"a":"b"},"Created":"2026-01-02T03:04:05.6Z"}`)
	f.Add(text, uint8(0))
	f.Add(text, uint8(1))
	f.Add([]byte("{"), uint8(0))
	f.Fuzz(func(t *testing.T, text []byte, flip uint8) {
		s := Stream{Dir: t.TempDir(), Name: "S"}
		h := newHash(s.Name)
		h.Write(text)
		sum := []byte(hex.EncodeToString(h.Sum(nil)))
		changed := append([]byte(nil), text...)
		if len(changed) > 0 && flip > 0 {
			changed[len(changed)/2] ^= flip
		}
		for name, content := range map[string][]byte{metaFile: changed, metaSumFile: sum} {
			if err := os.WriteFile(filepath.Join(s.Dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Meta(); err == nil && flip > 0 && len(text) > 0 {
			t.Errorf("%q, changed by %x, fits its checksum", text, flip)
		}
		other := Stream{Dir: s.Dir, Name: "T"}
		if _, err := other.Meta(); err == nil {
			t.Errorf("%q fits the checksum of another stream", text)
		}
	})
}

// FuzzIndex: the last sequence of a summary is the one that was written, or none.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{}, uint64(7))
	f.Add([]byte{1, 2, 3}, uint64(1)<<60)
	f.Fuzz(func(t *testing.T, tail []byte, last uint64) {
		s := Stream{Dir: t.TempDir(), Name: "S"}
		body := []byte{indexMagic, 1}
		for range 3 {
			body = binary.AppendUvarint(body, last/3)
		}
		body = binary.AppendVarint(body, -1)
		body = append(binary.AppendUvarint(body, last), tail...)
		h := newHash(s.Name)
		h.Write(body)
		if err := os.Mkdir(filepath.Join(s.Dir, blocksDir), 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.Dir, blocksDir, indexFile)
		for content, want := range map[string]uint64{
			string(h.Sum(body)):                   last,
			string(h.Sum(body[:len(body)-1])):     0,
			string(append([]byte(nil), tail...)):  0,
			string(h.Sum(nil)) + string(body[:2]): 0,
		} {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := s.IndexedLast(); got != want {
				t.Errorf("%x: %d, want %d", content, got, want)
			}
		}
	})
}
