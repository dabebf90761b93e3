package runtime

import (
	"errors"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
	"github.com/receiptd/receiptd/projections/clickhouse"
)

// fakeFiller is as far as a test says.
type fakeFiller struct {
	prepared bool
	stats    []analytics.Stats
}

func (f *fakeFiller) Prepared() bool           { return f.prepared }
func (f *fakeFiller) Stats() []analytics.Stats { return f.stats }

// TestRatesWithoutClickHouse: while ClickHouse is not prepared, or does not answer, no answer looks
// as if nothing had been sent.
func TestRatesWithoutClickHouse(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, limit(0)); err != nil {
		t.Fatal(err)
	}
	r.append(group("g", 3)...)
	r.caughtUp()
	archive, err := clickhouse.New(clickhouse.Options{DSN: "clickhouse://127.0.0.1:1/none", Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	core := *r.Core
	core.Archive = archive
	now := time.Now().UnixMilli()
	q := projections.RateQuery{App: app, By: projections.ByHour, From: now - 3_600_000, To: now + 3_600_000, Limit: 10}

	for name, filling := range map[string]*fakeFiller{
		"not prepared":    {stats: make([]analytics.Stats, partitions)},
		"does not answer": {prepared: true, stats: make([]analytics.Stats, partitions)},
	} {
		a, err := (&rates{core: &core, filling: filling, fallback: true}).Rates(testContext(t), q)
		if err != nil || a.Source != gateway.SourceEmbedded || len(a.Rows) != 1 || a.Rows[0].Messages == 0 || a.BehindEntries != 0 || a.AsOf < now {
			t.Errorf("%s, with the fallback: %+v, %v", name, a, err)
		}
		if a, err = (&rates{core: &core, filling: filling}).Rates(testContext(t), q); !errors.Is(err, projections.ErrRatesUnavailable) {
			t.Errorf("%s, without: %+v, %v", name, a, err)
		}
	}
	if a, err := r.rates().Rates(testContext(t), q); err != nil || a.Source != gateway.SourceEmbedded || len(a.Rows) != 1 {
		t.Errorf("no ClickHouse: %+v, %v", a, err)
	}
}

// TestAgeOfRates: an answer is as old as what is missing in it.
func TestAgeOfRates(t *testing.T) {
	r := start(t, testConfig(t))
	if _, err := r.Configure(testContext(t), app, limit(0)); err != nil {
		t.Fatal(err)
	}
	r.append(group("g", 3)...)
	r.caughtUp()
	asks := &rates{core: r.Core}
	all := func() (list []counted) {
		for _, s := range r.Projector.Stats() {
			list = append(list, counted{s.Sequence, s.Clock})
		}
		return list
	}
	var a gateway.Rates
	before := time.Now().UnixMilli()
	if asks.age(&a, all); a.AsOf < before || a.BehindEntries != 0 || a.BehindMS != 0 {
		t.Errorf("nothing is missing: %+v", a)
	}
	a = gateway.Rates{}
	asks.age(&a, func() []counted {
		list := all()
		for k := range list {
			if list[k].sequence > 0 {
				list[k] = counted{list[k].sequence - 1, before - 5000 - int64(k)}
			}
		}
		return list
	})
	if a.BehindEntries == 0 || a.BehindMS < 5000 || a.AsOf > before-5000 {
		t.Errorf("an entry of each partition is missing: %+v", a)
	}
	a = gateway.Rates{}
	if asks.age(&a, func() []counted { return make([]counted, partitions) }); a.AsOf != 0 || a.BehindEntries == 0 {
		t.Errorf("everything is missing: %+v", a)
	}
}
