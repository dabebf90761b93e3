package backup

import (
	"archive/tar"
	"bytes"
	"fmt"
	"runtime"
	"testing"
)

// What a server announces costs nothing until it arrives: neither a length nor a hole.
func TestReceivingTakesNoMoreThanArrives(t *testing.T) {
	for name, stream := range map[string][]byte{"a length": headOf(t, maxFile), "a hole": withHole(headOf(t, 0), maxFile)} {
		d, err := OpenDir(t.TempDir())
		must(t, err)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = d.Receive(t.Context(), bytes.NewReader(stream), nil)
		runtime.ReadMemStats(&after)
		must(t, d.Close())
		if err == nil {
			t.Errorf("%s: it is taken", name)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("%s: %d bytes are taken to refuse %d of them with %v", name, took, len(stream), err)
		}
	}
}

// headOf is the header of a file of so many bytes, of which none follows.
func headOf(t *testing.T, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	head := tar.Header{Name: beginName, Mode: 0o600, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
	must(t, tar.NewWriter(&b).WriteHeader(&head))
	return b.Bytes()
}

// withHole has a header say that its file is a hole of a size.
func withHole(head []byte, size int) []byte {
	const typeFlag, realSize, sum, sumEnd = 156, 483, 148, 156
	head[typeFlag] = tar.TypeGNUSparse
	copy(head[realSize:], fmt.Sprintf("%011o", size))
	copy(head[sum:sumEnd], "        ") // as which it counts in the sum
	total := 0
	for _, b := range head {
		total += int(b)
	}
	copy(head[sum:sumEnd], fmt.Sprintf("%06o\x00 ", total))
	return head
}
