package analytics_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// TestClickHouseCountsWhatTheStateCounts: the same stream gives the same counts in ClickHouse, in
// the state, in the rollup and in the ledger of the traffic.
func TestClickHouseCountsWhatTheStateCounts(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	s.Events = *streamEvents
	g := s.Log.Traffic(smallTraffic(7), s.Events)
	f := s.Fill(s.Store)
	s.Filled(f)
	p := foldAll(t, s.Log)
	checkCounts(t, p, g)
	s.Exact()
	s.SameAnswers(p)
	s.Stop(f)
	if parts := s.Number("SELECT count() FROM system.parts WHERE table = 'events' AND level = 0"); parts == 0 {
		t.Error("there are no parts as they were inserted")
	}
}

// faulty is a sink whose answers get lost.
type faulty struct {
	*ch.Store
	insert func(b *ch.Block, token string, insert func() error) error
}

func (f *faulty) Insert(ctx context.Context, b *ch.Block, token string) error {
	return f.insert(b, token, func() error { return f.Store.Insert(ctx, b, token) })
}

var errLost = errors.New("the answer is lost")

// TestLostAnswersNeitherLoseNorDouble: an insert that was stored and not answered, one that was
// neither, one that arrives after it was repeated, and one that ClickHouse remembers without having
// its rows.
func TestLostAnswersNeitherLoseNorDouble(t *testing.T) {
	s := consumertest.NewSink(t, 1)
	s.Log.Group(20)
	s.Log.Put(150, burst(0, 300, 20)...) // one entry after the other
	var n atomic.Int64
	sink := &faulty{Store: s.Store}
	var late func() error
	sink.insert = func(b *ch.Block, token string, insert func() error) error {
		switch n.Add(1) % 8 {
		case 1:
			return cmp.Or(insert(), errLost)
		case 3:
			return errLost
		case 5:
			late = func() error { return s.Store.Insert(context.Background(), b, token) }
			return errLost
		case 6: // the repeated insert arrives before the first one
			return cmp.Or(insert(), late())
		case 7:
			if err := insert(); err != nil {
				return err
			}
			// As if the server had died after it remembered the token, before it kept the rows.
			err := s.Conn.Exec(context.Background(), fmt.Sprintf("ALTER TABLE events DELETE WHERE sequence >= %d SETTINGS mutations_sync = 1", b.First))
			return cmp.Or(err, errLost)
		}
		return insert()
	}
	f := s.Fill(sink)
	s.Filled(f)
	s.Exact()
	if st := f.Stats()[0]; st.Failures < 5 || st.Blocks < 8 {
		t.Errorf("the faults were not met: %+v", st)
	}
}

// TestKilledFillingGoesOnWhereClickHouseIs stops the filling at random moments, its inserts under
// way, and lets another one go on.
func TestKilledFillingGoesOnWhereClickHouseIs(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	g := s.Log.Traffic(smallTraffic(13), 20_000)
	for n := range 12 {
		f := s.Fill(s.Store)
		// A random moment: how far it gets is not to be the same.
		time.Sleep(time.Duration(20+n*15) * time.Millisecond)
		s.Stop(f)
		if n == 6 { // and once without what it knows itself
			if err := os.RemoveAll(filepath.Join(s.Dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Exact()
	p := foldAll(t, s.Log)
	checkCounts(t, p, g)
	s.SameAnswers(p)
}

// TestClickHouseMayBeAway: it is killed, paused and not there at first; meanwhile nothing is lost.
func TestClickHouseMayBeAway(t *testing.T) {
	s := consumertest.NewSink(t, 2)
	s.Server.Kill()
	// Which an insert keeps on a machine with much else to do.
	const timeout = 2 * time.Second
	store := consumertest.OpenStore(t, s.Server, timeout) // it is not there yet
	f := s.Fill(store)
	s.Log.Traffic(smallTraffic(17), 5000)
	s.Server.Restart()
	for n := range 4 {
		s.Log.Traffic(smallTraffic(uint64(18+n)), 2000)
		if n%2 == 0 {
			s.Server.Pause()
			time.Sleep(timeout * 3 / 2) // longer than an insert may take
			s.Server.Resume()
		} else {
			s.Server.Kill()
			time.Sleep(100 * time.Millisecond) // inserts are refused meanwhile
			s.Server.Restart()
		}
	}
	s.Filled(f)
	s.Exact()
}

// TestRefusedEntryDoesNotStopOthers: an entry that ClickHouse does not take is kept as its bytes,
// and replayed from them.
func TestRefusedEntryDoesNotStopOthers(t *testing.T) {
	s := consumertest.NewSink(t, 1)
	if err := s.Store.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Conn.Exec(testContext(t), "ALTER TABLE events ADD CONSTRAINT c CHECK message != 'm13'"); err != nil {
		t.Fatal(err)
	}
	s.Log.Group(3)
	s.Log.Put(10, burst(0, 100, 3)...)
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Stop(f)
	refused := f.Stats()[0].Refused
	if n := s.Number("SELECT count() FROM events WHERE outcome = 'kept as bytes'"); n != refused || n == 0 {
		t.Errorf("%d entries are kept as bytes, %d were refused", n, refused)
	}
	p := foldAll(t, s.Log)
	if result, err := p.Rebuild(testContext(t), projector.RebuildOptions{Archive: s.Store}); err != nil || !result.Equal {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestForeignClickHouseIsRefused: tables that were filled from another log, or from more of this
// one, are left alone.
func TestForeignClickHouseIsRefused(t *testing.T) {
	s := consumertest.NewSink(t, 1)
	s.Log.Group(3)
	s.Log.Put(1, burst(0, 5, 3)...)
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Stop(f)
	rows := s.Number("SELECT count() FROM events")
	for _, n := range []int{1, 10} { // a shorter log, and one that has another entry there
		s.Log = consumertest.Open(t, 1)
		s.Log.Group(3)
		s.Log.Put(1, burst(0, n, 3)...)
		s.Dir = t.TempDir()
		f := s.Fill(s.Store)
		<-f.Done
		if !errors.Is(f.Err, analytics.ErrDisagrees) {
			t.Errorf("filled from another log: %v", f.Err)
		}
	}
	if n := s.Number("SELECT count() FROM events"); n != rows {
		t.Errorf("%d rows became %d", rows, n)
	}
}

// TestReadRatesTouchFewRows: questions are answered without looking at the events, from less than a
// hundredth of as many rows.
func TestReadRatesTouchFewRows(t *testing.T) {
	s := consumertest.NewSink(t, 1)
	config := smallTraffic(23)
	config.Groups, config.Members, config.SingleChats = 10, 400, 0
	s.Log.Traffic(config, 60_000)
	f := s.Fill(s.Store)
	s.Filled(f)
	s.Stop(f)
	// The server merges parts by itself sooner or later; the bound is for tables that are merged.
	for _, table := range []string{"cohorts", "hours", "group_days", "sender_days"} {
		if err := s.Conn.Exec(testContext(t), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	total := s.Number("SELECT count() FROM events")
	for _, by := range []projections.RateBy{projections.ByHour, projections.ByGroup, projections.BySender} {
		// To the end of this hour, and to the end of a day.
		for _, to := range []time.Time{time.Now(), time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 2)} {
			q := projections.RateQuery{App: "bench#app1", To: to.UnixMilli() + 1, By: by, Limit: 10}
			before := s.Server.RowsRead()
			if rows, err := s.Store.ReadRates(testContext(t), q); err != nil || len(rows.Rows) == 0 {
				t.Fatalf("%d rows, %v", len(rows.Rows), err)
			}
			if read := s.Server.RowsRead() - before; read == 0 || read*100 > total {
				t.Errorf("%+v: %d rows of %d were read", q, read, total)
			}
		}
	}
}
