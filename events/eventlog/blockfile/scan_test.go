package blockfile_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// store is a stopped server's store with one stream.
type store struct {
	t      testing.TB
	stream blockfile.Stream
	blocks []string
}

// fill makes a stream with the pinned server and returns its files. Blocks are small by the limit
// on bytes.
func fill(t testing.TB, messages int, change func(context.Context, jetstream.JetStream, jetstream.Stream)) *store {
	t.Helper()
	dir := t.TempDir()
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(t, err)
	srv.Start()
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	must(t, err)
	js, err := jetstream.New(nc)
	must(t, err)
	ctx := context.Background()
	// A small limit on bytes makes nats-server choose small blocks.
	s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxBytes: 127_000, Discard: jetstream.DiscardNew})
	must(t, err)
	for i := range messages {
		m := &nats.Msg{Subject: "s.batch", Data: fmt.Appendf(nil, "%d %s", i+1, strings.Repeat("x", 500))}
		if i%2 == 0 {
			m.Header = nats.Header{"Nats-Msg-Id": {fmt.Sprint(i)}}
		}
		_, err := js.PublishMsg(ctx, m)
		must(t, err)
	}
	if change != nil {
		change(ctx, js, s)
	}
	nc.Close()
	srv.Shutdown()
	srv.WaitForShutdown()
	streams, err := blockfile.Streams(filepath.Join(dir, server.JetStreamStoreDir))
	must(t, err)
	if len(streams) != 1 || streams[0].Name != "S" {
		t.Fatalf("streams: %v", streams)
	}
	blocks, err := filepath.Glob(filepath.Join(streams[0].Dir, "msgs", "*.blk"))
	must(t, err)
	return &store{t: t, stream: streams[0], blocks: blocks}
}

func (s *store) scan(o blockfile.Options) blockfile.Report {
	s.t.Helper()
	r, err := s.stream.Scan(context.Background(), o)
	must(s.t, err)
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var whole = blockfile.Options{Contiguous: true}

func TestWhatTheServerWroteIsRead(t *testing.T) {
	s := fill(t, 200, nil)
	var sequence uint64
	o := whole
	o.Visit = func(r blockfile.Record) error {
		sequence++
		if r.Sequence != sequence || string(r.Subject) != "s.batch" || !strings.HasPrefix(string(r.Data), fmt.Sprint(sequence, " x")) || r.Time == 0 {
			return fmt.Errorf("record %d: %d %s %q", sequence, r.Sequence, r.Subject, r.Data[:10])
		}
		return nil
	}
	r := s.scan(o)
	if r.First != 1 || r.Last != 200 || r.Messages != 200 || r.Top != 200 || len(r.Damage) != 0 || r.Torn != nil || r.Blocks < 2 {
		t.Errorf("report: %+v", r)
	}
	m, err := s.stream.Meta()
	if err != nil || m.Created.IsZero() {
		t.Errorf("meta: %+v, %v", m, err)
	}
}

func TestTrimmedAndDeletedMessagesAreNoDamage(t *testing.T) {
	s := fill(t, 200, func(ctx context.Context, _ jetstream.JetStream, stream jetstream.Stream) {
		must(t, stream.Purge(ctx, jetstream.WithPurgeSequence(140)))
	})
	r := s.scan(whole)
	if r.First > 140 || r.Last != 200 || r.Top != 200 || len(r.Damage) != 0 || r.Torn != nil {
		t.Errorf("trimmed: %+v", r)
	}
	s = fill(t, 50, func(ctx context.Context, _ jetstream.JetStream, stream jetstream.Stream) {
		for _, sequence := range []uint64{7, 8, 50} {
			must(t, stream.DeleteMsg(ctx, sequence))
		}
	})
	if r := s.scan(blockfile.Options{}); r.Top != 50 || len(r.Damage) != 0 || r.Torn != nil {
		t.Errorf("deleted: %+v", r)
	}
	s = fill(t, 50, func(ctx context.Context, _ jetstream.JetStream, stream jetstream.Stream) { must(t, stream.Purge(ctx)) })
	if r := s.scan(whole); r.Top != 50 || r.Messages != 0 || len(r.Damage) != 0 || r.Torn != nil {
		t.Errorf("purged: %+v", r)
	}
}

// Whatever single bit of a block is flipped, the scan says so, and names the message.
func TestNoFlippedBitPasses(t *testing.T) {
	s := fill(t, 200, nil)
	o := whole
	o.Visit = func(r blockfile.Record) error {
		// The lengths are not hashed. What they cut wrong shows in the subject.
		if string(r.Subject) != "s.batch" {
			return blockfile.ErrDamaged
		}
		return nil
	}
	random := rand.New(rand.NewPCG(1, 2))
	flips := 3000
	if testing.Short() {
		flips = 300
	}
	for range flips {
		block := s.blocks[random.IntN(len(s.blocks))]
		good, err := os.ReadFile(block)
		must(t, err)
		at, bit := random.IntN(len(good)), random.IntN(8)
		bad := append([]byte(nil), good...)
		bad[at] ^= 1 << bit
		must(t, os.WriteFile(block, bad, 0o600))
		r, err := s.stream.Scan(context.Background(), o)
		if !errors.Is(err, blockfile.ErrDamaged) && len(r.Damage) == 0 && r.Torn == nil {
			t.Fatalf("bit %d of byte %d of %s: %+v", bit, at, block, r)
		}
		if err == nil && r.Torn == nil && r.Last != 200 {
			t.Fatalf("bit %d of byte %d of %s hides what follows: %+v", bit, at, block, r)
		}
		for _, d := range r.Damage {
			if d.First == 0 || d.Last < d.First || d.Last > d.First+1 {
				t.Fatalf("bit %d of byte %d of %s: %v", bit, at, block, d)
			}
		}
		must(t, os.WriteFile(block, good, 0o600))
	}
}

func TestTornTailIsToldFromDamage(t *testing.T) {
	s := fill(t, 200, nil)
	last := s.blocks[len(s.blocks)-1]
	good, err := os.ReadFile(last)
	must(t, err)
	for _, test := range []struct {
		name string
		tail []byte
	}{
		{"half a record", good[:100]},
		{"a few bytes", []byte{1, 2, 3}},
		{"zeros", make([]byte, 5000)},
	} {
		must(t, os.WriteFile(last, append(good[:len(good):len(good)], test.tail...), 0o600))
		r := s.scan(whole)
		if r.Torn == nil || r.Torn.First != 201 || r.Torn.Offset != int64(len(good)) || len(r.Damage) != 0 || r.Last != 200 {
			t.Errorf("%s: %+v", test.name, r)
		}
	}
	must(t, os.WriteFile(last, good, 0o600))
	// The same in a block that others follow is damage.
	first := s.blocks[0]
	head, err := os.ReadFile(first)
	must(t, err)
	must(t, os.WriteFile(first, head[:len(head)-10], 0o600))
	if r := s.scan(whole); len(r.Damage) != 1 || r.Torn != nil || r.Damage[0].First != r.Damage[0].Last {
		t.Errorf("cut in the first block: %+v", r)
	}
}

func TestMissingBlockIsFound(t *testing.T) {
	s := fill(t, 200, nil)
	if len(s.blocks) < 3 {
		t.Fatalf("%d blocks", len(s.blocks))
	}
	must(t, os.Remove(s.blocks[1]))
	r := s.scan(whole)
	if len(r.Damage) != 1 || r.Damage[0].What != blockfile.Missing || r.Last != 200 {
		t.Errorf("report: %+v", r)
	}
}

func TestNewestBlocksOnly(t *testing.T) {
	s := fill(t, 200, nil)
	o := whole
	o.Newest = 1
	if r := s.scan(o); r.Blocks != 1 || r.Skipped != len(s.blocks)-1 || r.Last != 200 {
		t.Errorf("report: %+v", r)
	}
}

// The streams of two directories that were swapped are each damaged: their hashes are keyed with
// their names.
func TestSwappedDirectoryIsFound(t *testing.T) {
	s := fill(t, 20, nil)
	other := blockfile.Stream{Dir: s.stream.Dir, Name: "T"}
	if _, err := other.Meta(); !errors.Is(err, blockfile.ErrDamaged) {
		t.Errorf("meta: %v", err)
	}
	r, err := other.Scan(context.Background(), whole)
	must(t, err)
	if r.Messages != 0 || r.Torn == nil {
		t.Errorf("report: %+v", r)
	}
}

func FuzzScan(f *testing.F) {
	s := fill(f, 20, nil)
	good, err := os.ReadFile(s.blocks[0])
	must(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("cmp\x01\x05"))
	dir := f.TempDir()
	must(f, os.MkdirAll(filepath.Join(dir, "msgs"), 0o2000))
	f.Fuzz(func(t *testing.T, data []byte) {
		must(t, os.WriteFile(filepath.Join(dir, "msgs", "1.blk"), data, 0o600))
		stream := blockfile.Stream{Dir: dir, Name: "S"}
		r, err := stream.Scan(context.Background(), whole)
		must(t, err)
		if r.Messages > uint64(len(data)) {
			t.Errorf("%d messages in %d bytes", r.Messages, len(data))
		}
	})
}
