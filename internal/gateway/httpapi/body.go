package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// read fills the body, decompressing it if Content-Encoding says so. limit bounds it before and
// after; size is its length if that is known and within the limit, or -1.
func (t *intake) read(c *call, limit, size int64) (err error) {
	var r io.Reader = c.r.Body
	if size < 0 { // else net/http reads no more than it
		r = http.MaxBytesReader(c.w, c.r.Body, limit)
	}
	encoding, err := encodingOf(c.r)
	if err != nil {
		return err
	}
	if encoding != "" {
		d := decompressors[encoding].Get().(decompressor)
		defer decompressors[encoding].Put(d)
		if err := d.Reset(r); err != nil {
			return bodyError(fmt.Errorf("%s: %w", encoding, err))
		}
		r = d
	}
	// One more, to meet the end without growing.
	t.body = slices.Grow(t.body[:0], int(max(size+1, 4<<10)))
	t.body, err = readAll(t.body, r, int(limit))
	return err
}

// encodingOf is what the body is compressed with: "gzip", "zstd", or nothing. Names of encodings
// have no case, and x-gzip is an old one of gzip (RFC 9110).
func encodingOf(r *http.Request) (string, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "gzip", "zstd":
		return encoding, nil
	default:
		switch strings.ToLower(encoding) {
		case "identity":
			return "", nil
		case "gzip", "x-gzip":
			return "gzip", nil
		case "zstd":
			return "zstd", nil
		}
		return "", badEncoding("gzip, zstd or none")
	}
}

func badEncoding(takes string) *apiError {
	return &apiError{
		status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", field: "Content-Encoding",
		message: "Content-Encoding: " + takes,
	}
}

// readAll appends what r has to dst, up to limit bytes in all.
func readAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, cap(dst))
		}
		n, err := r.Read(dst[len(dst):min(cap(dst), limit+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > limit:
			return dst, tooLarge(fmt.Sprintf("the body is larger than %d bytes", limit))
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, bodyError(err)
		}
	}
}

type decompressor interface {
	io.Reader
	Reset(io.Reader) error
}

// maxWindow bounds the memory of a zstd decoder, which the sender chooses: the window of the
// library's highest level.
const maxWindow = 8 << 20

// decompressors keeps decoders, which are expensive to make, by Content-Encoding.
var decompressors = map[string]*sync.Pool{
	"gzip": {New: func() any { return new(gzip.Reader) }},
	"zstd": {New: func() any {
		// One goroutine, the caller's: the pool may drop a decoder without closing it.
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			panic(err) // the options do not fit together
		}
		return d
	}},
}
