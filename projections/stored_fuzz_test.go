package projections_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// FuzzStoredState puts a value that this version did not write under any key of a state, and folds
// the rest of the log upon it: the fold ends with an error or goes on, and never ends the process;
// what it then commits can be opened or is an error, too.
func FuzzStoredState(f *testing.F) {
	log := history.Logs().Example(1)
	half := len(log) / 2
	limits := projections.Options{CacheBytes: 1}
	apply := func(p *projections.Partition, list history.Log) error {
		var batch events.Batch
		for _, e := range list {
			batch.SetEvents(e.Events)
			x := projections.Decoded{Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence, Batch: &batch, Poison: e.Poison}
			if _, err := p.Apply(x); err != nil {
				return err
			}
		}
		return nil
	}
	commit := func(p *projections.Partition, m memory) error {
		c, err := p.Capture()
		if err == nil {
			err = m.commit(c)
		}
		if err == nil {
			p.Committed(c)
		}
		return err
	}
	whole := memory{}
	p, err := projections.Open(0, whole, limits)
	if err == nil {
		err = apply(p, log[:half])
	}
	if err == nil {
		err = commit(p, whole)
	}
	if err != nil {
		f.Fatal(err)
	}
	keys := slices.Sorted(maps.Keys(whole))
	for i, key := range keys {
		f.Add(uint16(i), []byte(whole[key]))
		f.Add(uint16(i), []byte(whole[key])[:len(whole[key])/2])
	}
	f.Fuzz(func(t *testing.T, which uint16, value []byte) {
		m := maps.Clone(whole)
		m[keys[int(which)%len(keys)]] = string(value)
		p, err := projections.Open(0, m, limits)
		if err != nil {
			return
		}
		if err = apply(p, log[half:]); err != nil {
			return
		}
		if err = commit(p, m); err == nil {
			_, _ = projections.Open(0, m, limits)
		}
	})
}
