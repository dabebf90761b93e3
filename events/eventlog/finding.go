package eventlog

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDamaged: the files of an embedded log are not what was acknowledged. The error is a
// [*DamageError]. Nothing was changed: they may be the only copy.
var ErrDamaged = errors.New("eventlog: the log is damaged")

// Codes of findings. An operator's tools go by them.
const (
	CodeUnreadable     = "unreadable"      // a file cannot be read now
	CodeMetaDamaged    = "meta_damaged"    // a stream's configuration is not what was written
	CodeBlockDamaged   = "block_damaged"   // entries are not what was written
	CodeEntriesMissing = "entries_missing" // entries are missing between others or before them
	CodeShorter        = "log_shorter"     // acknowledged entries are missing at the end
	CodeEntryDiffers   = "entry_differs"   // another entry lies at a position that is known
	CodeStreamMissing  = "stream_missing"  // a stream is gone
	CodeStreamForeign  = "stream_foreign"  // another stream lies in its place
	CodeWitnessDamaged = "witness_damaged" // the witness cannot be read
	CodeWitnessMissing = "witness_missing" // the log had a witness and has none
	CodeMetaStale      = "meta_stale"      // a configuration has an older checksum; it heals
	CodeTornTail       = "torn_tail"       // a write that was under way was cut off; it heals
	CodeBlockKept      = "block_kept"      // a block is missing that has a hard link; it heals
)

// Finding is one thing that an inspection found.
type Finding struct {
	Code string `json:"code"`
	// Fatal is set if the log must not be served as it is.
	Fatal  bool   `json:"fatal"`
	Stream string `json:"stream,omitempty"`
	// File and Offset are where it is, if that is known.
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	// First and Last are the sequences of the entries that are concerned; zeros if there are none.
	First uint64 `json:"first,omitempty"`
	Last  uint64 `json:"last,omitempty"`
	// What says what was found.
	What string `json:"what"`
}

// String is one line for people.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.Code)
	if f.Stream != "" {
		fmt.Fprintf(&b, ": stream %s", f.Stream)
	}
	switch {
	case f.First != 0 && f.Last > f.First:
		fmt.Fprintf(&b, ", entries %d to %d", f.First, f.Last)
	case f.First != 0:
		fmt.Fprintf(&b, ", entry %d", f.First)
	}
	fmt.Fprintf(&b, ": %s", f.What)
	if f.File != "" {
		fmt.Fprintf(&b, " (%s at offset %d)", f.File, f.Offset)
	}
	return b.String()
}

// DamageError says what is wrong with a log. It wraps [ErrDamaged].
type DamageError struct{ Findings []Finding }

func (e *DamageError) Error() string {
	lines := make([]string, 0, len(e.Findings)+1)
	for _, f := range e.Findings {
		if f.Fatal {
			lines = append(lines, f.String())
		}
	}
	return fmt.Sprintf("%v, and is left as it is: %s", ErrDamaged, strings.Join(lines, "; "))
}

func (e *DamageError) Unwrap() error { return ErrDamaged }
