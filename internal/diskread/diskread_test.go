package diskread

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func TestWhatIsReadIsWhatIsThere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 4095, 4096, 4097, windowSize - 1, windowSize, windowSize + 1, 3*windowSize + 777} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(random.Uint32())
		}
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		paced := 0
		got, err := ReadFile(path, nil, func(n int) error { paced += n; return nil })
		if err != nil || !bytes.Equal(got, want) || paced < size {
			t.Errorf("%d bytes: got %d, %v; paced %d", size, len(got), err, paced)
		}
		f, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			off, n := random.Int64N(int64(size)+10), random.IntN(9000)
			p := make([]byte, n)
			got, err := f.ReadAt(p, off)
			end := min(int(off)+n, size)
			if int(off) < size && !bytes.Equal(p[:got], want[off:end]) || (err != nil) != (int(off)+n > size) || err != nil && !errors.Is(err, io.EOF) {
				t.Fatalf("%d bytes at %d of %d: %d, %v", n, off, size, got, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPaceEndsTheReading(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path, nil, func(int) error { return io.ErrClosedPipe }); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}
