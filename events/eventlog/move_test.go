package eventlog_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// entries are all entries of a partition as they are stored.
func entries(t *testing.T, ctx context.Context, l *eventlog.Log, partition int) (list []eventlog.Entry) {
	t.Helper()
	first, last, err := l.Bounds(ctx, partition)
	if err != nil {
		t.Fatal(err)
	}
	for sequence := first; sequence <= last; sequence++ {
		e, err := l.EntryAt(ctx, partition, sequence)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// restoreTo makes a log of what another one has, as a restore of a backup does.
func restoreTo(t *testing.T, ctx context.Context, from *eventlog.Log, dir string) {
	t.Helper()
	r, err := eventlog.Restore(dir)
	if err != nil {
		t.Fatal(err)
	}
	holdings, err := from.Holdings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range holdings {
		err := r.Stream(h.Stream, h.Meta, h.Last, func(add func(blockfile.Record) error) error {
			if h.Entries == 0 {
				return nil
			}
			return from.Copy(ctx, h.Stream, h.First-1, h.Last, add)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Witness(dir + ".witness"); err != nil {
		t.Fatal(err)
	}
}

func equalEntries(a, b []eventlog.Entry) bool {
	return slices.EqualFunc(a, b, func(a, b eventlog.Entry) bool {
		return a.Sequence == b.Sequence && a.Time.Equal(b.Time) && a.Subject == b.Subject && string(a.Data) == string(b.Data)
	})
}

// A log moves into a cluster with its sequences, times and identity. However often that is cut off
// in between, nobody opens half of it or begins another one, and a further run makes it whole.
func TestLogMovesIntoACluster(t *testing.T) {
	t.Parallel()
	// Servers are waited for at each cut.
	ctx, end := context.WithTimeout(context.Background(), 8*time.Minute)
	defer end()
	dir := filepath.Join(t.TempDir(), "log")
	alone := natstest.OpenLog(t, eventlog.Config{Dir: dir, Partitions: 3})
	for i := range 40 { // of 3 partitions at least one stays empty
		if _, err := alone.Append(ctx, receipts(200, i)); err != nil {
			t.Fatal(err)
		}
	}
	nc, err := alone.Connect(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "beside"})
	if err == nil {
		_, err = kv.PutString(ctx, "key", "value")
	}
	if err != nil {
		t.Fatal(err)
	}
	full := 0 // a partition with entries, of which the first leave
	for k := range alone.Partitions() {
		if _, last, err := alone.Bounds(ctx, k); err == nil && last > 10 {
			full = k
		}
	}
	if err := alone.Trim(ctx, full, 5); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "log")
	restoreTo(t, ctx, alone, dir)
	natstest.CloseLog(t, alone)
	alone = natstest.OpenLog(t, eventlog.Config{Dir: dir})
	identity := alone.Identity()
	want := make([][]eventlog.Entry, alone.Partitions())
	for k := range want {
		want[k] = entries(t, ctx, alone, k)
	}
	natstest.CloseLog(t, alone)

	servers := natstest.StartCluster(t, 3)
	url := natstest.ClusterURL(servers)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	there, err := jetstream.New(conn)
	if err == nil {
		_, err = there.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: eventlog.RestoreClaim, Replicas: 3})
	}
	if err != nil {
		t.Fatal(err)
	}
	m := eventlog.Mover{Conn: conn, Dir: dir, Witness: dir + ".witness", Replicas: 3, Backup: "b", Logger: natstest.Logger(t)}
	if err := m.Occupied(ctx); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for done := false; !done; cuts++ {
		short, cancel := context.WithCancel(ctx)
		left := 1 << cuts
		m.Progress = func(sent, total int64) {
			left--
			if left == 0 && cuts != 3 || cuts == 3 && sent == total {
				cancel()
			}
		}
		err := m.Run(short)
		cancel()
		if done = err == nil; !done {
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("cut %d: %v", cuts, err)
			}
			if l, err := eventlog.Open(ctx, eventlog.Config{URL: url, Replicas: 3}); !errors.Is(err, eventlog.ErrRestoring) {
				t.Fatalf("a log that is not whole was opened: %v, %v", l, err)
			}
		}
	}
	if cuts < 4 {
		t.Errorf("it was cut off %d times only", cuts-1)
	}
	if backup, err := eventlog.Restored(ctx, conn); backup != "b" || err != nil {
		t.Errorf("restored from %q, %v", backup, err)
	}
	if err := m.Occupied(ctx); !errors.Is(err, eventlog.ErrOccupied) {
		t.Errorf("a log is there, and %v", err)
	}
	for round := range 2 {
		l := natstest.OpenLog(t, eventlog.Config{URL: url, Replicas: 3})
		if l.Identity() != identity {
			t.Errorf("round %d: the log is another one: %x, not %x", round, l.Identity(), identity)
		}
		for k := range want {
			if !equalEntries(entries(t, ctx, l, k), want[k]) {
				t.Errorf("round %d: partition %d has other entries", round, k)
			}
		}
		natstest.CloseLog(t, l)
		for k := range want {
			stream := []string{"RECEIPTS_0", "RECEIPTS_1", "RECEIPTS_2"}[k]
			was := leaderOf(t, ctx, there, stream)
			eventually(t, "another server leads", func() bool {
				now := leaderOf(t, ctx, there, stream)
				if now == was { // it may be elected again
					_, _ = conn.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, 2*time.Second)
					time.Sleep(time.Second) // it has a second to be elected and told
				}
				return now != "" && now != was
			})
		}
	}
	got, err := there.KeyValue(ctx, "beside")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := got.Get(ctx, "key"); err != nil || string(e.Value()) != "value" {
		t.Errorf("what lay beside: %v, %v", e, err)
	}
}

// What bounds a part does not bound the stream, which may take hours.
func TestLargeLogsMove(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "log")
	alone := natstest.OpenLog(t, eventlog.Config{Dir: dir, Partitions: 1})
	for i := range 130 {
		evs := receipts(1000, i)
		for j := range evs {
			evs[j].Message = rand.Text() // it is sent compressed
		}
		if _, err := alone.Append(ctx, evs); err != nil {
			t.Fatal(err)
		}
	}
	natstest.CloseLog(t, alone)
	conn, err := nats.Connect(natstest.StartServer(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const limit = time.Second
	parts, began := 0, time.Now()
	m := eventlog.Mover{
		Conn: conn, Dir: dir, Witness: dir + ".witness", Replicas: 1, Backup: "b", Logger: natstest.Logger(t),
		Progress: func(sent, total int64) {
			parts++
			time.Sleep(limit / 4) // as a slow line does
		},
	}
	m.WithPartTimeout(limit)
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); parts < 8 || took < limit {
		t.Errorf("%d parts in %v prove nothing", parts, took)
	}
}

func leaderOf(t *testing.T, ctx context.Context, js jetstream.JetStream, stream string) string {
	t.Helper()
	s, err := js.Stream(ctx, stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}
