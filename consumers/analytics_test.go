package consumers

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/chtest"
	"github.com/receiptd/receiptd/internal/natstest"
	"github.com/receiptd/receiptd/internal/sim/history"
	"github.com/receiptd/receiptd/projections"
	ch "github.com/receiptd/receiptd/projections/clickhouse"
)

// sinkTest is a log, a ClickHouse, and who fills the one from the other.
type sinkTest struct {
	t      testing.TB
	log    *testLog
	server *chtest.Server
	store  *ch.Store
	conn   driver.Conn // past the store
	dir    string
}

func newSinkTest(t testing.TB, partitions int) *sinkTest {
	t.Helper()
	server := chtest.Start(t)
	return &sinkTest{
		t: t, log: openLog(t, partitions), server: server, dir: t.TempDir(),
		store: openStore(t, server, 5*time.Second), conn: connect(t, server),
	}
}

func openStore(t testing.TB, server *chtest.Server, timeout time.Duration) *ch.Store {
	t.Helper()
	s := must[*ch.Store](t)(ch.New(ch.Options{DSN: server.DSN("receipts"), Timeout: timeout}))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func connect(t testing.TB, server *chtest.Server) driver.Conn {
	t.Helper()
	conn := must[driver.Conn](t)(clickhouse.Open(must[*clickhouse.Options](t)(clickhouse.ParseDSN(server.DSN("receipts")))))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// filling is an Analytics with its Run under way.
type filling struct {
	*Analytics
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// fill fills a sink until stop or the end of the test, with small blocks.
func (s *sinkTest) fill(sink SinkArchive) *filling {
	s.t.Helper()
	a := must[*Analytics](s.t)(NewAnalytics(s.log, sink, AnalyticsOptions{
		Dir: s.dir, BlockRows: max(500, *streamEvents/40), BlockAge: 20 * time.Millisecond, RefreshEvery: 30 * time.Millisecond,
		CheckpointEvery: 50 * time.Millisecond, Logger: natstest.Logger(s.t),
	}))
	f := &filling{Analytics: a, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	go func() {
		defer close(f.done)
		f.err = a.Run(ctx)
	}()
	s.t.Cleanup(func() { _ = f.wait() })
	return f
}

func (f *filling) wait() error {
	f.cancel()
	<-f.done
	return errors.Join(f.err, f.Close())
}

// stop ends the filling, which must not have failed.
func (s *sinkTest) stop(f *filling) {
	s.t.Helper()
	if err := f.wait(); err != nil {
		s.t.Fatal(err)
	}
}

// filled waits until the sink has everything.
func (s *sinkTest) filled(f *filling) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(*streamEvents)*100*time.Microsecond)
	defer cancel()
	for k := range s.log.Partitions() {
		for last := s.log.last(k); f.Stats()[k].Refreshed < last; {
			select {
			case <-f.done:
				s.t.Fatalf("filling ended: %v", f.err)
			case <-ctx.Done():
				s.t.Fatalf("partition %d: %+v, the log ends with %d", k, f.Stats()[k], last)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

// number answers a question that has one number for an answer.
func (s *sinkTest) number(sql string) (n uint64) {
	s.t.Helper()
	if err := s.conn.QueryRow(testContext(s.t), sql).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// exact compares ClickHouse with the log, entry by entry: every event is there once, in blocks that are parts.
func (s *sinkTest) exact() {
	s.t.Helper()
	for k := range s.log.Partitions() {
		ctx := testContext(s.t)
		r := must[*eventlog.Reader](s.t)(s.log.Read(ctx, k, 0))
		defer r.Close()
		want := uint64(0)
		for last := s.log.last(k); r.Last() < last; {
			e := must[eventlog.Entry](s.t)(r.Next(ctx))
			var b events.Batch
			if events.DecodeEntry(e.Subject, e.Data, s.log.Partitions(), &b) != nil {
				want++
			}
			want += uint64(max(b.Len(), 0))
		}
		got := s.number(fmt.Sprintf("SELECT count() FROM events WHERE partition = %d AND fact = 0", k))
		if got != want {
			s.t.Errorf("partition %d: ClickHouse has %d events, the log %d", k, got, want)
		}
		if n := s.number(fmt.Sprintf("SELECT uniqExact(sequence) FROM events WHERE partition = %d", k)); n != s.log.last(k) {
			s.t.Errorf("partition %d: ClickHouse has %d entries, the log %d", k, n, s.log.last(k))
		}
	}
	if n := s.number("SELECT toUInt64(count() - uniqExact(partition, sequence, `index`, fact)) FROM events"); n != 0 {
		s.t.Errorf("%d rows are there more than once", n)
	}
}

// sameAnswers compares everything that is counted in ClickHouse with the live state.
func (s *sinkTest) sameAnswers(p *Projector) {
	s.t.Helper()
	ctx := testContext(s.t)
	rows := must[driver.Rows](s.t)(s.conn.Query(ctx, `
		SELECT app, id, eligible, delivered, read, recalled, sender, toUnixTimestamp64Milli(sent_at), readers
		FROM (SELECT * FROM messages FINAL) AS m LEFT JOIN
			(SELECT app, message, sender, `+"`group`"+`, if(`+"`group`"+` = '', user, '') AS receiver, countIf(kind = 'message.read') AS readers
			FROM events WHERE outcome = 'applied' AND kind IN ('message.read', 'message.delivered') GROUP BY ALL) AS e
			ON e.app = m.app AND e.message = m.id AND e.sender = m.sender AND e.receiver = m.peer AND e.`+"`group` = m.`group`"+`
		ORDER BY app, id`))
	defer rows.Close()
	checked := 0
	ids := map[string]int{}
	for rows.Next() {
		var (
			app, id, sender           string
			eligible, delivered, read uint32
			recalled                  bool
			sentAt                    int64
			readers                   uint64
		)
		if err := rows.Scan(&app, &id, &eligible, &delivered, &read, &recalled, &sender, &sentAt, &readers); err != nil {
			s.t.Fatal(err)
		}
		want := must[projections.Message](s.t)(p.Message(app, id))
		if ids[app+id]++; want.From != sender || want.SentAt != sentAt {
			continue // the id is that of several messages, and the state finds another one
		}
		got := projections.Counts{Eligible: int(eligible), Delivered: int(delivered), Read: int(read)}
		if got != want.Counts || recalled != want.Recalled || !recalled && readers != uint64(want.Read) {
			s.t.Errorf("message %s: ClickHouse has %+v, recalled %v, %d rows of reads; the state %+v, recalled %v",
				id, got, recalled, readers, want.Counts, want.Recalled)
		}
		checked++
	}
	if err := rows.Err(); err != nil || checked == 0 {
		s.t.Fatalf("%d messages, %v", checked, err)
	}
	s.sameRates(p)
}

// sameRates asks both for read rates, in every way.
func (s *sinkTest) sameRates(p *Projector) {
	s.t.Helper()
	ctx := testContext(s.t)
	for app := range p.Revisions() {
		all := projections.RateQuery{App: app, From: time.Now().Add(-100 * time.Hour).UnixMilli(), To: time.Now().Add(time.Hour).UnixMilli(), Limit: 1000, Bins: true}
		queries := []projections.RateQuery{all}
		for _, by := range []projections.RateBy{projections.ByGroup, projections.BySender} {
			q := all
			q.By = by
			rows := must[[]projections.RateRow](s.t)(p.ReadRates(ctx, q))
			queries = append(queries, q)
			for _, r := range rows[:min(3, len(rows))] {
				q := all
				if by == projections.ByGroup {
					q.Group = r.Key
				} else {
					q.Sender = r.Key
				}
				queries = append(queries, q)
				q.By, q.Limit = projections.BySender, 2
				queries = append(queries, q)
			}
		}
		for _, q := range queries {
			want := must[[]projections.RateRow](s.t)(p.ReadRates(ctx, q))
			got := must[[]projections.RateRow](s.t)(s.store.ReadRates(ctx, q))
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				s.t.Errorf("%+v:\nClickHouse %.2000s\nstate      %.2000s", q, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
			}
		}
	}
}

// streamEvents is how long the stream of TestClickHouseCountsWhatTheStateCounts is. A long one is for now and then.
var streamEvents = flag.Int("analytics.events", 20_000, "events of the stream that ClickHouse, state and books must count alike")

// TestClickHouseCountsWhatTheStateCounts: the same stream gives the same counts in ClickHouse, in the state, in the rollup
// and in the books of the traffic.
func TestClickHouseCountsWhatTheStateCounts(t *testing.T) {
	s := newSinkTest(t, 2)
	g := s.log.traffic(smallTraffic(7), *streamEvents)
	r := start(t, s.log, Options{})
	f := s.fill(s.store)
	s.filled(f)
	r.caughtUp()
	checkCounts(t, r.Projector, g)
	s.exact()
	s.sameAnswers(r.Projector)
	s.stop(f)
	if parts := s.number("SELECT count() FROM system.parts WHERE table = 'events' AND level = 0"); parts == 0 {
		t.Error("there are no parts as they were inserted")
	}
}

// everything puts random histories of all kinds of events, and entries that nobody can decode, into a log.
func (s *sinkTest) everything() {
	s.t.Helper()
	s.log.group(3)
	s.log.append(1, events.Event{ // parked, were it not strict
		Kind: events.MessageRead, App: app, Group: "g", User: reader(1), Message: "nothing", Strict: true, Content: "text", Time: 1234,
	})
	for seed := range 12 {
		for _, e := range history.Logs().Example(seed) {
			if e.Poison != "" {
				for k := range s.log.Partitions() {
					s.log.publish(fmt.Sprintf("receipts.v1.%d.batch", k), []byte(e.Poison+"\x00\xff"))
				}
				continue
			}
			for _, x := range e.Events {
				if x.Kind.Internal() {
					for k := range s.log.Partitions() {
						s.log.appendTo(k, x)
					}
				} else {
					s.log.append(1, x)
				}
			}
		}
	}
}

// TestColdReplayGivesTheSameState: folded from what ClickHouse holds, alone or followed by the log, the state is the same,
// fingerprints included.
func TestColdReplayGivesTheSameState(t *testing.T) {
	s := newSinkTest(t, 2)
	s.everything()
	r := start(t, s.log, Options{})
	f := s.fill(s.store)
	s.filled(f)
	r.caughtUp()
	s.exact()
	s.sameAnswers(r.Projector)
	s.stop(f)
	want := r.digests(t)
	for _, step := range []string{"archive", "archive and log", "archive and a short log"} {
		switch step {
		case "archive and log":
			s.log.traffic(smallTraffic(3), 3000)
			r.caughtUp()
			want = r.digests(t)
		case "archive and a short log":
			for k := range 2 {
				s.log.purge(k, s.number(fmt.Sprintf("SELECT max(sequence) FROM events WHERE partition = %d", k))+1)
			}
		}
		result := must[RebuildResult](t)(r.Rebuild(testContext(t), RebuildOptions{Archive: s.store, Switch: true}))
		if got := r.digests(t); !result.Equal || !slices.Equal(got, want) {
			t.Fatalf("%s: %+v; digests %q, want %q", step, result, got, want)
		}
	}
	if _, err := r.Rebuild(testContext(t), RebuildOptions{}); !errors.Is(err, ErrNeedsArchive) {
		t.Errorf("replay from a log that was trimmed: %v", err)
	}
}

// TestLostStateComesBackFromTheArchive: without its state and without the beginning of the log a server says what to do,
// and that works.
func TestLostStateComesBackFromTheArchive(t *testing.T) {
	s := newSinkTest(t, 2)
	s.log.traffic(smallTraffic(5), 5000)
	f := s.fill(s.store)
	s.filled(f)
	s.stop(f)
	want := straight(t, s.log)
	for k := range 2 {
		s.log.purge(k, s.log.last(k))
	}
	lost := start(t, s.log, Options{Dir: s.dir + "-state"})
	<-lost.done
	if err := lost.wait(); !errors.Is(err, ErrNeedsArchive) {
		t.Fatalf("started without its state: %v", err)
	}
	_ = lost.Close()
	p := open(t, s.log, Options{Dir: s.dir + "-state"})
	result, err := p.Rebuild(testContext(t), RebuildOptions{Archive: s.store, Switch: true})
	if err != nil || result.Equal || !result.Switched || result.Partitions[0].Live != "" {
		t.Errorf("%+v, %v", result, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, s.log, Options{Dir: s.dir + "-state"})
	r.caughtUp()
	if got := r.digests(t); !slices.Equal(got, want) {
		t.Errorf("digests %q, want %q", got, want)
	}
	// Its own state, too, the sink brings back.
	if err := os.RemoveAll(s.dir); err != nil {
		t.Fatal(err)
	}
	s.log.append(10, events.Event{Kind: events.MessageRead, App: "acme#chat", User: "nobody", Peer: "somebody", Message: "nothing"})
	s.filled(s.fill(s.store))
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

// TestLostAnswersNeitherLoseNorDouble: an insert that was stored and not answered, one that was neither, one that arrives after
// it was repeated, and one that ClickHouse remembers without having its rows.
func TestLostAnswersNeitherLoseNorDouble(t *testing.T) {
	s := newSinkTest(t, 1)
	s.log.group(20)
	s.log.append(150, burst(0, 300, 20)...) // one entry after the other
	var n atomic.Int64
	sink := &faulty{Store: s.store}
	var late func() error
	sink.insert = func(b *ch.Block, token string, insert func() error) error {
		switch n.Add(1) % 8 {
		case 1:
			return cmp.Or(insert(), errLost)
		case 3:
			return errLost
		case 5:
			late = func() error { return s.store.Insert(context.Background(), b, token) }
			return errLost
		case 6: // the repeated one, and only then the first
			return cmp.Or(insert(), late())
		case 7:
			if err := insert(); err != nil {
				return err
			}
			// What a server does that dies between the two.
			err := s.conn.Exec(context.Background(), fmt.Sprintf("ALTER TABLE events DELETE WHERE sequence >= %d SETTINGS mutations_sync = 1", b.First))
			return cmp.Or(err, errLost)
		}
		return insert()
	}
	f := s.fill(sink)
	s.filled(f)
	s.exact()
	if st := f.Stats()[0]; st.Failures < 5 || st.Blocks < 8 {
		t.Errorf("the faults were not met: %+v", st)
	}
}

// TestKilledFillingGoesOnWhereClickHouseIs stops the filling at random moments, its inserts under way, and lets another one go on.
func TestKilledFillingGoesOnWhereClickHouseIs(t *testing.T) {
	s := newSinkTest(t, 2)
	g := s.log.traffic(smallTraffic(13), 20_000)
	for n := range 12 {
		f := s.fill(s.store)
		time.Sleep(time.Duration(20+n*15) * time.Millisecond)
		s.stop(f)
		if n == 6 { // and once without what it knows itself
			if err := os.RemoveAll(filepath.Join(s.dir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := s.fill(s.store)
	s.filled(f)
	s.exact()
	r := start(t, s.log, Options{})
	r.caughtUp()
	checkCounts(t, r.Projector, g)
	s.sameAnswers(r.Projector)
}

// TestClickHouseMayBeAway: it is killed, paused and not there at first; meanwhile nothing is lost.
func TestClickHouseMayBeAway(t *testing.T) {
	s := newSinkTest(t, 2)
	s.server.Kill()
	store := openStore(t, s.server, 300*time.Millisecond) // it is not there yet
	f := s.fill(store)
	s.log.traffic(smallTraffic(17), 5000)
	s.server.Restart()
	for n := range 4 {
		s.log.traffic(smallTraffic(uint64(18+n)), 2000)
		if n%2 == 0 {
			s.server.Pause()
			time.Sleep(500 * time.Millisecond)
			s.server.Resume()
		} else {
			s.server.Kill()
			time.Sleep(100 * time.Millisecond)
			s.server.Restart()
		}
	}
	s.filled(f)
	s.exact()
}

// TestRefusedEntryDoesNotStopOthers: an entry that ClickHouse does not take is kept as its bytes, and replayed from them.
func TestRefusedEntryDoesNotStopOthers(t *testing.T) {
	s := newSinkTest(t, 1)
	if err := s.store.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.Exec(testContext(t), "ALTER TABLE events ADD CONSTRAINT c CHECK message != 'm13'"); err != nil {
		t.Fatal(err)
	}
	s.log.group(3)
	s.log.append(10, burst(0, 100, 3)...)
	f := s.fill(s.store)
	s.filled(f)
	s.stop(f)
	refused := f.Stats()[0].Refused
	if n := s.number("SELECT count() FROM events WHERE outcome = 'kept as bytes'"); n != refused || n == 0 {
		t.Errorf("%d entries are kept as bytes, %d were refused", n, refused)
	}
	r := start(t, s.log, Options{})
	r.caughtUp()
	if result, err := r.Rebuild(testContext(t), RebuildOptions{Archive: s.store}); err != nil || !result.Equal {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestForeignClickHouseIsRefused: tables that were filled from another log, or from more of this one, are left alone.
func TestForeignClickHouseIsRefused(t *testing.T) {
	s := newSinkTest(t, 1)
	s.log.group(3)
	s.log.append(1, burst(0, 5, 3)...)
	f := s.fill(s.store)
	s.filled(f)
	s.stop(f)
	rows := s.number("SELECT count() FROM events")
	for _, n := range []int{1, 10} { // a shorter log, and one that has another entry there
		s.log = openLog(t, 1)
		s.log.group(3)
		s.log.append(1, burst(0, n, 3)...)
		s.dir = t.TempDir()
		f := s.fill(s.store)
		<-f.done
		if !errors.Is(f.err, ErrSinkDisagrees) {
			t.Errorf("filled from another log: %v", f.err)
		}
	}
	if n := s.number("SELECT count() FROM events"); n != rows {
		t.Errorf("%d rows became %d", rows, n)
	}
}

// TestReadRatesTouchFewRows: questions are answered without looking at the events, from less than a hundredth of as many rows.
func TestReadRatesTouchFewRows(t *testing.T) {
	s := newSinkTest(t, 1)
	config := smallTraffic(23)
	config.Groups, config.Members, config.SingleChats = 10, 400, 0
	s.log.traffic(config, 60_000)
	f := s.fill(s.store)
	s.filled(f)
	s.stop(f)
	for _, table := range []string{"cohorts", "hours"} { // as the server does by itself in time
		if err := s.conn.Exec(testContext(t), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	total := s.number("SELECT count() FROM events")
	for _, by := range []projections.RateBy{projections.ByHour, projections.ByGroup, projections.BySender} {
		q := projections.RateQuery{App: "bench#app1", To: time.Now().Add(time.Hour).UnixMilli(), By: by, Limit: 10}
		before := s.server.RowsRead()
		if rows, err := s.store.ReadRates(testContext(t), q); err != nil || len(rows) == 0 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if read := s.server.RowsRead() - before; read == 0 || read*100 > total {
			t.Errorf("%+v: %d rows of %d were read", q, read, total)
		}
	}
}
