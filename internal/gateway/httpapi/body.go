package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// firstBlock is what a request is given to begin with, whatever it says will come.
const firstBlock = 16 << 10

// read fills the body with what comes, as it is encoded. limit bounds it. Memory is taken as it
// comes, and counted.
func (t *intake) read(c *call, limit int) error {
	var r io.Reader = c.r.Body
	size := int(c.r.ContentLength) // within the limit
	if size < 0 {                  // else net/http reads no more than it
		r = http.MaxBytesReader(c.w, c.r.Body, int64(limit))
		size = limit
	}
	// One more, to meet the end without growing.
	if err := t.grow(min(size+1, firstBlock)); err != nil {
		return err
	}
	for {
		b := *t.body
		if len(b) == cap(b) {
			if err := t.grow(min(4*cap(b), max(size, len(b))+1)); err != nil {
				return err
			}
			b = *t.body
		}
		n, err := r.Read(b[len(b):min(cap(b), limit+1)])
		*t.body = b[:len(b)+n]
		switch {
		case len(b)+n > limit:
			return tooLargeBody(limit)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return bodyError(err)
		}
	}
}

// grow gives the body room for n bytes.
func (t *intake) grow(n int) error {
	had := 0
	if t.body != nil {
		had = cap(*t.body)
	}
	if err := t.pass.Hold(int64(bodies.size(n) - had)); err != nil {
		return err
	}
	larger := bodies.get(n)
	if t.body != nil {
		*larger = append(*larger, *t.body...)
		bodies.put(t.body)
	}
	t.body = larger
	return nil
}

// bodies is the memory of bodies, up to 2 MiB each.
var bodies = slicePool[byte]{least: 4 << 10}

func tooLargeBody(limit int) error {
	return tooLarge(fmt.Sprintf("the body is larger than %d bytes", limit))
}

// decompress replaces the body by what it is compressed from, of at most limit bytes. It is done in
// the turn: what a body becomes, and the memory of a decoder, are bounded only by limits.
func (t *intake) decompress(encoding string, limit int) error {
	d := decompressors[encoding].Get().(decompressor)
	defer decompressors[encoding].Put(d)
	if err := d.Reset(bytes.NewReader(*t.body)); err != nil {
		return bodyError(fmt.Errorf("%s: %w", encoding, err))
	}
	plain, err := readAll(bodies.get(4*len(*t.body)), d, limit)
	bodies.put(t.body)
	t.body = plain
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
	return newFieldError(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Encoding", takes)
}

// readAll fills p, or a larger slice that it returns in its place, with what r has, up to limit
// bytes.
func readAll(p *[]byte, r io.Reader, limit int) (*[]byte, error) {
	for {
		b := *p
		if len(b) == cap(b) {
			larger := bodies.get(2 * cap(b))
			*larger = append(*larger, b...)
			bodies.put(p)
			p, b = larger, *larger
		}
		n, err := r.Read(b[len(b):min(cap(b), limit+1)])
		*p = b[:len(b)+n]
		switch {
		case len(*p) > limit:
			return p, tooLargeBody(limit)
		case errors.Is(err, io.EOF):
			return p, nil
		case err != nil:
			return p, bodyError(err)
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
