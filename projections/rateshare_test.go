package projections_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// over is a value as it comes out of JSON.
func over[V any](t *testing.T, v V) (there V) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &there)
	}
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// scanElsewhere goes through the first partition here and through the others in other processes.
func scanElsewhere(t *testing.T, s *projections.RateScan, here *projections.Partition, others ...*projections.Partition) (projections.RatePage, error) {
	t.Helper()
	through := func(s *projections.RateScan, p *projections.Partition) {
		for done := false; !done; {
			var err error
			if done, err = s.Step(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for s.Next() {
		through(s, here)
		for _, p := range others {
			there, err := over(t, s.At()).Scan()
			if err != nil {
				t.Fatal(err)
			}
			through(there, p)
			if err := s.Add(over(t, there.Share())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s.Page()
}

// Partitions that are gone through elsewhere give the same answer as those that are here.
func TestRatesOfPartitionsElsewhere(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for seed := range 20 {
		var parts []*projections.Partition
		app := ""
		for k := range 3 {
			p := open(t, memory{}, projections.Options{})
			var batch events.Batch
			for _, e := range history.Logs().Example(3*seed + k) {
				batch.SetEvents(e.Events)
				if _, err := p.Apply(projections.Decoded{Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence, Batch: &batch, Poison: e.Poison}); err != nil {
					t.Fatal(err)
				}
			}
			parts = append(parts, p)
			if app == "" {
				for key := range p.Apps() {
					app = key
				}
			}
		}
		for _, q := range append(rateQueries(app), rateQueries("")...) {
			if q.Zone != nil { // one that has a name
				q.Zone = shanghai
			}
			want, err := scan(projections.NewRateScan(q), parts...)
			if err != nil {
				t.Fatal(err)
			}
			got, err := scanElsewhere(t, projections.NewRateScan(q), parts[0], parts[1:]...)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, %+v:\ngot  %+v, %v\nwant %+v", seed, q, got, err, want)
			}
			rows += len(want.Rows)
		}
	}
	if rows < 100 {
		t.Errorf("only %d rows were compared", rows)
	}
}

// What another process sends is added or refused.
func TestSharesThatAreNone(t *testing.T) {
	s := projections.NewRateScan(projections.RateQuery{App: "o#a", To: 2, By: projections.ByGroup, Limit: 1})
	if !s.Next() {
		t.Fatal("there is no round")
	}
	row := projections.RateShareRow{Key: "g", Bins: []projections.BinCount{{Bin: projections.NumBins, Count: 1}}}
	if err := s.Add(projections.RateShare{Rows: []projections.RateShareRow{row}}); err == nil {
		t.Error("a bin that there is not is added")
	}
	if err := s.Add(projections.RateShare{Visited: 1 << 60}); err == nil {
		t.Error("more is visited than a query may")
	}
	for _, round := range []int{-1, 0, 3} {
		r := s.At()
		r.Round = round
		if _, err := r.Scan(); err == nil {
			t.Errorf("there is a round %d", round)
		}
	}
}
