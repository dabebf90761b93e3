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

// FuzzIndex: a summary is believed if it is what was written, of the blocks that are there.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{}, uint64(7))
	f.Add([]byte{1, 2, 3}, uint64(1)<<60)
	f.Fuzz(func(t *testing.T, tail []byte, last uint64) {
		s := Stream{Dir: t.TempDir(), Name: "S"}
		last = max(last, 1)
		block := []byte("a block that ends so")
		body := []byte{indexMagic, 4}
		for _, n := range []uint64{last, 20, 1, 0, last, 0, 1, 1, 'a', last, 3, 3, 1, 3, 20, 1, 0, last, 0, 0, 0, 0, 3} {
			body = binary.AppendUvarint(body, n)
		}
		body = append(append(body, block[len(block)-recordHashSize:]...), tail...)
		h := newHash(s.Name)
		h.Write(body)
		if err := os.Mkdir(filepath.Join(s.Dir, blocksDir), 0o700); err != nil {
			t.Fatal(err)
		}
		put := func(path, content string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		whole := string(h.Sum(body))
		for name, c := range map[string]struct {
			summary string
			blocks  map[int]string
			fits    bool
		}{
			"as written":       {whole, map[int]string{3: string(block)}, true},
			"an older block":   {whole, map[int]string{2: "x", 3: string(block)}, true},
			"a newer block":    {whole, map[int]string{3: string(block), 4: ""}, false},
			"no block":         {whole, nil, false},
			"a longer block":   {whole, map[int]string{3: string(block) + "more"}, false},
			"an empty block":   {whole, map[int]string{3: ""}, false},
			"cut off":          {string(h.Sum(body[:len(body)-1])), map[int]string{3: string(block)}, false},
			"no summary":       {string(tail), map[int]string{3: string(block)}, false},
			"a sum and a head": {string(h.Sum(nil)) + string(body[:2]), map[int]string{3: string(block)}, false},
		} {
			if err := os.RemoveAll(filepath.Join(s.Dir, blocksDir)); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(s.Dir, blocksDir), 0o700); err != nil {
				t.Fatal(err)
			}
			put(filepath.Join(s.Dir, blocksDir, indexFile), c.summary)
			for i, content := range c.blocks {
				put(s.BlockPath(i), content)
			}
			if got, fits := s.Summary(); fits != c.fits || fits && got != last {
				t.Errorf("%s: %d, %v; it was %d", name, got, fits, last)
			}
		}
	})
}

// FuzzParseIndex: whatever a summary says, reading it ends.
func FuzzParseIndex(f *testing.F) {
	f.Add([]byte{indexMagic, 4, 1, 20, 1, 0, 1, 0, 0, 1, 3, 20, 1, 0, 1, 0, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{indexMagic, 1, 255, 255, 255, 255, 255, 255, 255, 255, 127})
	f.Fuzz(func(_ *testing.T, body []byte) {
		if len(body) >= indexHead {
			_, _ = parseIndex(body)
		}
	})
}
