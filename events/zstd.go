package events

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstdEncoder and zstdDecoder are shared by all batches: EncodeAll and DecodeAll keep no state
// between calls and may be called at the same time. Checksums are left to the broker.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("events: zstd encoder options: " + err.Error())
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxRawBytes), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderConcurrency(0))
		if err != nil {
			panic("events: zstd decoder options: " + err.Error())
		}
		return d
	})
)

const zstdWindow = 1 << 20
