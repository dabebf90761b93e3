package blockfile_test

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// A single record that is cut out between two others, and nothing else, is missed.
func TestMissingRecordIsFound(t *testing.T) {
	s := fill(t, 20, nil)
	b, err := os.ReadFile(s.blocks[0])
	must(t, err)
	size := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:]) &^ (1 << 31)) }
	at := size(0)
	must(t, os.WriteFile(s.blocks[0], append(b[:at:at], b[at+size(at):]...), 0o600))
	r := s.scan(whole)
	if len(r.Damage) != 1 || r.Damage[0].What != blockfile.Missing || r.Damage[0].First != 2 || r.Damage[0].Last != 2 || r.Last != 20 {
		t.Errorf("report: %+v", r)
	}
}

// Two blocks that end with no record: only the last one may be what a crash left.
func TestOnlyTheLastEndIsTorn(t *testing.T) {
	s := fill(t, 200, nil)
	n := len(s.blocks)
	b, err := os.ReadFile(s.blocks[n-2])
	must(t, err)
	must(t, os.WriteFile(s.blocks[n-2], b[:len(b)-10], 0o600))
	must(t, os.WriteFile(s.blocks[n-1], make([]byte, 100), 0o600))
	r := s.scan(whole)
	if len(r.Damage) != 1 || r.Damage[0].File != s.blocks[n-2] || r.Torn == nil || r.Torn.File != s.blocks[n-1] {
		t.Errorf("report: %+v", r)
	}
}
