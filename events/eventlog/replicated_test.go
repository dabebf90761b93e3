package eventlog_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A server that lags, or was deposed, says that the log ends earlier than it does. Neither a reader
// nor a publisher in doubt gives up for that; a log that stays shorter is refused all the same.
func TestStaleAnswersEndNothing(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	servers := natstest.StartCluster(t, 3)
	var lies atomic.Int64 // how many answers are still stale
	hooks := eventlog.Hooks{Trust: -1, AckTimeout: 2 * time.Second, Stale: time.Minute, State: func(s *jetstream.StreamState) {
		if lies.Add(-1) >= 0 {
			s.LastSeq, s.FirstSeq, s.Msgs = 1, 1, 1
		}
	}}
	proxy := natstest.StartProxy(t, servers[0].Addr())
	cfg := eventlog.Config{URL: proxy.URL(), Partitions: 1, Replicas: 3}
	log := natstest.OpenLog(t, eventlog.WithHooks(cfg, hooks))
	for i := range 3 {
		if _, err := log.Append(ctx, receipts(1, i)); err != nil {
			t.Fatal(err)
		}
	}
	lies.Store(3)
	r, err := log.Read(ctx, 0, 3)
	if err != nil {
		t.Fatalf("a reader believes a stale answer: %v", err)
	}
	r.Close()
	// In doubt, the publisher looks where the log ends.
	lies.Store(3)
	proxy.Hold()
	ticket, err := log.Submit(ctx, receipts(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the entry is stored", func() bool {
		s, err := servers[1].JetStream().Stream(ctx, "RECEIPTS_0")
		return err == nil && s.CachedInfo().State.LastSeq == 4
	})
	proxy.Cut()
	if err := ticket.Wait(ctx); err != nil {
		t.Errorf("the publisher believes a stale answer: %v", err)
	}
	if err := log.Err(); err != nil {
		t.Error(err)
	}

	hooks.Stale = 300 * time.Millisecond
	shorter := natstest.OpenLog(t, eventlog.WithHooks(eventlog.Config{URL: servers[1].URL(), Partitions: 1, Replicas: 3}, hooks))
	lies.Store(1 << 40)
	if _, err := shorter.Read(ctx, 0, 4); !errors.Is(err, eventlog.ErrAhead) {
		t.Errorf("a log that stays shorter: %v", err)
	}
}

// A server that has just started cannot tell, and says so. It is asked again until it can, or the
// caller does not wait any longer.
func TestServersThatCannotTellAreAskedAgain(t *testing.T) {
	t.Parallel()
	log := natstest.OpenLog(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1})
	asked := 0
	until := func(n int) func(context.Context) error {
		return func(context.Context) error {
			if asked++; asked < n {
				return fmt.Errorf("look up: %w", &jetstream.APIError{Code: 503, ErrorCode: 10008, Description: "JetStream system temporarily unavailable"})
			}
			return nil
		}
	}
	if err := log.Request(testContext(t), until(3)); err != nil || asked != 3 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), time.Second)
	defer cancel()
	if err := log.Request(ctx, until(1<<30)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it could never tell: %v", err)
	}
}

// An entry of a replicated log is read from its leader.
func TestEntriesAreReadFromTheLeader(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	servers := natstest.StartCluster(t, 3)
	log := natstest.OpenLog(t, eventlog.Config{URL: natstest.ClusterURL(servers), Partitions: 1, Replicas: 3})
	if _, err := log.Append(ctx, receipts(5, 0)); err != nil {
		t.Fatal(err)
	}
	direct, err := servers[0].JetStream().Conn().SubscribeSync("$JS.API.DIRECT.GET.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := servers[0].JetStream().Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	e, err := log.EntryAt(ctx, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := log.Read(ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if want, err := r.Next(ctx); err != nil || eventlog.Fingerprint(e) != eventlog.Fingerprint(want) || e.MsgID != want.MsgID || e.Subject != want.Subject {
		t.Errorf("the leader's entry is %+v, the reader's %+v, %v", e, want, err)
	}
	if _, err := log.EntryAt(ctx, 0, 2); !errors.Is(err, eventlog.ErrNoEntry) {
		t.Errorf("entry 2: %v", err)
	}
	if m, err := direct.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a replica was asked: %s %s", m.Subject, m.Data)
	}
}

// An entry that is missing in the leader's replica alone is not missing in the log: another server
// is made to lead, and readers go on from there.
func TestLeaderThatLacksAnEntryIsDeposed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	servers := natstest.StartCluster(t, 3)
	cfg := eventlog.Config{URL: natstest.ClusterURL(servers), Partitions: 1, Replicas: 3}
	log := natstest.OpenLog(t, cfg)
	const entries, missing = 9, 4
	for i := range entries {
		if _, err := log.Append(ctx, receipts(1, i)); err != nil {
			t.Fatal(err)
		}
	}
	servers[0].Stop()
	dropRecord(t, servers[0].Store("RECEIPTS_0"), missing)
	servers[0].Start()
	natstest.AwaitCluster(t, servers)
	js := servers[1].JetStream()
	lead := func() bool {
		s, err := js.Stream(ctx, "RECEIPTS_0")
		if err == nil && s.CachedInfo().Cluster.Leader == "s0" {
			return true
		}
		if err == nil && s.CachedInfo().Cluster.Leader != "" {
			_, _ = js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN.RECEIPTS_0", nil, time.Second)
			time.Sleep(time.Second) // until another one leads
		}
		return false
	}
	eventually(t, "the server with the damaged replica leads", lead)
	if e, err := log.EntryAt(ctx, 0, missing); err != nil || e.Sequence != missing {
		t.Errorf("%+v, %v", e, err)
	}
	eventually(t, "the server with the damaged replica leads again", lead)
	if list := readAll(t, ctx, log, 0); len(list) != entries {
		t.Errorf("%d of %d entries were read", len(list), entries)
	}
	if _, err := log.EntryAt(ctx, 0, entries+1); !errors.Is(err, eventlog.ErrNoEntry) {
		t.Errorf("an entry that never was: %v", err)
	}
}

// dropRecord takes a message out of the file of a stream whose server is stopped.
func dropRecord(t *testing.T, stream string, number int) {
	t.Helper()
	path := filepath.Join(stream, "msgs", "1.blk")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := func(at int) int { return int(binary.LittleEndian.Uint32(text[at:]) &^ (1 << 31)) }
	at := 0
	for range number - 1 {
		at += size(at)
	}
	if err := os.WriteFile(path, slices.Delete(text, at, at+size(at)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(stream, "msgs", "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// An entry in doubt is found, and stored once, while other nodes append without a pause, and long
// after the server has forgotten its id.
func TestOwnEntryIsFoundHoweverMuchOthersAppend(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1, Node: "a"}, eventlog.Hooks{DuplicateWindow: 100 * time.Millisecond, Trust: -1, AckTimeout: time.Second})
	other := natstest.OpenLog(t, eventlog.WithHooks(eventlog.Config{URL: o.server.URL(), Node: "b"}, o.hooks))
	load, stop := context.WithCancel(ctx)
	loaded := make(chan error, 1)
	go func() {
		for i := 0; load.Err() == nil; i++ {
			if _, err := other.Append(ctx, receipts(1, 1000+i)); err != nil {
				loaded <- err
				return
			}
		}
		loaded <- nil
	}()
	for i := range 5 {
		o.proxy.Hold()
		ticket, err := o.log.Submit(ctx, []events.Event{read("g", string(rune('a'+i)))})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the entry is stored", func() bool {
			m, err := o.stream(t, ctx).GetLastMsgForSubject(ctx, "receipts.v1.0.batch.of.a.*")
			return err == nil && m.Sequence > o.log.Stats()[0].LastSequence
		})
		time.Sleep(200 * time.Millisecond) // its id is forgotten
		o.proxy.Cut()
		if err := ticket.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range readAll(t, ctx, other, 0) {
		if e.group == "g" {
			seen[e.user]++
		}
	}
	for user, n := range seen {
		if n != 1 || len(seen) != 5 {
			t.Errorf("the read of %s is in the log %d times; of %d users", user, n, len(seen))
		}
	}
}

// A server that has lost an entry stores it again if it is in doubt, or later. The answer is where
// it is first, and the publisher goes on.
func TestOwnEntryThatIsStoredTwice(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1, Node: "a"}, eventlog.Hooks{DuplicateWindow: 100 * time.Millisecond, Trust: -1, AckTimeout: time.Second})
	again := func(sequence uint64) {
		t.Helper()
		m, err := o.stream(t, ctx).GetMsg(ctx, sequence)
		if err != nil {
			t.Fatal(err)
		}
		m.Header.Del(jetstream.ExpectedLastSubjSeqHeader)
		eventually(t, "the entry is stored again", func() bool { // once its id is forgotten
			ack, err := o.js.PublishMsg(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
			return err == nil && !ack.Duplicate
		})
	}
	for i := range uint64(4) {
		at := 2*i + 1
		if i < 2 {
			o.proxy.Hold()
		}
		ticket, err := o.log.Submit(ctx, []events.Event{read("g", string(rune('a'+i)))})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the entry is stored", func() bool { return o.last(t, ctx) == at })
		if i < 2 {
			again(at)
			o.proxy.Cut()
		}
		if err := ticket.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if got := ticket.Positions()[0].Sequence; got != at {
			t.Errorf("entry %d is said to be at %d; it is first at %d", i, got, at)
		}
		if i >= 2 {
			again(at)
		}
	}
}

// After retention took all that a publisher had stored, it goes on.
func TestOwnSubjectThatWasTrimmed(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	o := openOutside(t, eventlog.Config{Partitions: 1, Node: "a"}, eventlog.Hooks{})
	other := natstest.OpenLog(t, eventlog.Config{URL: o.server.URL(), Node: "b"})
	for i, log := range []*eventlog.Log{o.log, other, o.log, other} {
		if i == 2 {
			if err := log.Trim(ctx, 0, 2); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := log.Append(ctx, receipts(1, i)); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *outside) stream(t *testing.T, ctx context.Context) jetstream.Stream {
	t.Helper()
	s, err := o.js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A node may start before its NATS servers, and waits for them.
func TestNodeWaitsForItsServers(t *testing.T) {
	t.Parallel()
	server := natstest.StartServer(t)
	url := server.URL()
	server.Stop()
	started := make(chan struct{})
	time.AfterFunc(500*time.Millisecond, func() {
		defer close(started)
		server.Start()
	})
	ctx, cancel := context.WithTimeout(testContext(t), time.Minute)
	defer cancel()
	log, err := eventlog.Open(ctx, eventlog.Config{URL: url, Partitions: 1, Node: "a", Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	natstest.CloseLog(t, log)
	<-started
}
