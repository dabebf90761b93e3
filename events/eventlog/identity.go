package eventlog

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"
)

// metaLife is drawn anew whenever a log begins or, restored, begins another life: sequences may be
// given to other entries from there on.
const metaLife = "receiptd.life"

// newLife draws what [metaLife] holds.
func newLife() string { return rand.Text() }

// Identity tells this log from every other one, and from what it was before it was restored from a
// backup. A position is only worth something together with it. It is never 0. It is made of when
// the streams were created, so that a log of before there were lives has one too.
func (l *Log) Identity() uint64 { return l.identity }

func identityOf(streams []jetstream.Stream) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, s := range streams {
		info := s.CachedInfo()
		if info.Config.Metadata[metaParent] != "" {
			continue // it came later, and the log is the same
		}
		at := info.Created
		if text := info.Config.Metadata[metaCreated]; text != "" {
			if was, err := time.Parse(time.RFC3339Nano, text); err == nil {
				at = was
			}
		}
		var created [8]byte
		binary.LittleEndian.PutUint64(created[:], uint64(at.UnixNano()))
		d.Write(created[:])
		d.WriteString(info.Config.Metadata[metaLife])
		d.Write([]byte{0})
	}
	return max(d.Sum64(), 1)
}
