package eventlog

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// FuzzForks: whatever the streams of a log say of how it was repartitioned, the start refuses it,
// or each entry of a partition lies in one stream that there is, of a log that had as many
// partitions then as it can have had, and no look-up goes on for ever.
func FuzzForks(f *testing.F) {
	for _, text := range []string{
		`[null]`, `[]`, `[{"receiptd.parent":"0","receiptd.fork":"7"}]`,
		`[{},{"receiptd.parent":"0","receiptd.fork":"7"}]`,
		`[{},{},{"receiptd.parent":"0","receiptd.fork":"7"},{"receiptd.parent":"1","receiptd.fork":"9"}]`,
		`[{},{"receiptd.parent":"0","receiptd.fork":"7"},{"receiptd.parent":"0","receiptd.fork":"9"},{"receiptd.parent":"1","receiptd.fork":"8"}]`,
		`[{},{"receiptd.parent":"0","receiptd.fork":"7"},{"receiptd.parent":"0","receiptd.fork":"7"},{"receiptd.parent":"1","receiptd.fork":"8"}]`,
		`[{},{},{"receiptd.parent":"1","receiptd.fork":"7"},{"receiptd.parent":"0","receiptd.fork":"9"}]`,
		`[{},{"receiptd.parent":"0","receiptd.fork":"0"}]`, `[{},{"receiptd.parent":"0","receiptd.fork":"18446744073709551615"}]`,
		`[{},{},{"receiptd.parent":"0","receiptd.fork":"7"}]`, `[{"receiptd.parent":"0","receiptd.fork":"7"},{}]`, `[{},{"receiptd.parent":"-1"}]`,
	} {
		f.Add([]byte(text), uint64(8))
	}
	f.Fuzz(func(t *testing.T, text []byte, sequence uint64) {
		var metas []map[string]string
		if json.Unmarshal(text, &metas) != nil || len(metas) == 0 || len(metas) > events.MaxPartitions {
			return // the number is checked before
		}
		forks, err := forksOf(metas)
		if err != nil {
			if !errors.Is(err, ErrStreamConfig) || forks != nil {
				t.Errorf("%q: %v, %v", text, forks, err)
			}
			return
		}
		if err := askedFor(0, forks); err != nil {
			t.Errorf("%q: with any number: %v", text, err)
		}
		if err := askedFor(len(metas)+1, forks); !errors.Is(err, ErrPartitions) {
			t.Errorf("%q: one more than it has: %v", text, err)
		}
		l := &Log{forks: forks}
		sequence = max(sequence, 1)
		for p := range forks {
			home, upto := l.home(p, sequence)
			n := l.partitionsAt(p, sequence)
			if home < 0 || home > p || upto != 0 && upto < sequence || n < 1 || n > len(forks) || home >= n || len(forks)%n != 0 || p%n != home {
				t.Errorf("%q: entry %d of partition %d is in %d up to %d, of %d then", text, sequence, p, home, upto, n)
			}
			after := sequence - 1
			for _, s := range l.Spans(p, after, sequence+1) {
				if s.After != after || s.Upto <= after {
					t.Errorf("%q: the span %+v comes after entry %d of partition %d", text, s, after, p)
				}
				after = s.Upto
			}
		}
	})
}

// Streams of which none is the first were a start that never ended.
func TestForksOfNothingAreRefused(t *testing.T) {
	of := func(parent, at string) map[string]string { return map[string]string{metaParent: parent, metaFork: at} }
	for name, metas := range map[string][]map[string]string{
		"the first one forked":      {of("0", "7")},
		"three partitions":          {{}, of("0", "7"), of("0", "9")},
		"from another one":          {{}, {}, of("1", "7"), of("0", "9")},
		"at nothing":                {{}, of("0", "0")},
		"before it forked itself":   {{}, of("0", "7"), of("0", "9"), of("1", "7")},
		"an original among the new": {{}, {}, of("0", "7"), {}},
	} {
		if forks, err := forksOf(metas); !errors.Is(err, ErrStreamConfig) {
			t.Errorf("%s: %+v, %v", name, forks, err)
		}
	}
}
