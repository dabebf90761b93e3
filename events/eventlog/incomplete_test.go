package eventlog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// A creation that was killed between the two files that describe a stream goes on at the next
// start, and what is stored then is there at the start after it.
func TestIncompleteStreamIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	open := func() *Log {
		t.Helper()
		l, err := Open(context.Background(), Config{Dir: dir, Partitions: 3})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	shut := func(l *Log) {
		t.Helper()
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	shut(open())
	streams := filepath.Join(dir, server.JetStreamStoreDir, logAccount, "streams")
	// A description that is damaged before anything was stored is made again, too.
	if err := os.Truncate(filepath.Join(streams, "RECEIPTS_0", server.JetStreamMetaFile), 100); err != nil {
		t.Fatal(err)
	}
	shut(open())
	shut(open())
	if s := (&blockfile.Stream{Dir: filepath.Join(streams, "RECEIPTS_0"), Name: "RECEIPTS_0"}); !isWhole(s) {
		t.Error("the damaged description is still there")
	}
	// As it is when the process dies while it makes the second of three: the last is there, the
	// first is not.
	for _, path := range []string{filepath.Join(streams, "RECEIPTS_1", server.JetStreamMetaFileSum), filepath.Join(streams, "RECEIPTS_0")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	l := open()
	ticket, err := l.SubmitTo(context.Background(), 1, []events.Event{{Kind: events.StatisticSeen, App: "o#a", User: "u", Upto: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := ticket.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	shut(l)
	l = open()
	if _, last, err := l.Bounds(context.Background(), 1); err != nil || last != 1 {
		t.Errorf("after the restart partition 1 ends at %d (%v), want 1", last, err)
	}
	shut(l)

	// Of one that has entries the checksum is made anew, if the rest is certain, and nothing is
	// removed if it is not.
	if err := os.Remove(filepath.Join(streams, "RECEIPTS_1", server.JetStreamMetaFileSum)); err != nil {
		t.Fatal(err)
	}
	l = open()
	if _, last, err := l.Bounds(context.Background(), 1); err != nil || last != 1 {
		t.Errorf("without a checksum partition 1 ends at %d (%v), want 1", last, err)
	}
	shut(l)
	if err := os.Truncate(filepath.Join(streams, "RECEIPTS_1", server.JetStreamMetaFile), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), Config{Dir: dir}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a stream with entries and half of its description: %v", err)
	}
	if blocks, _ := filepath.Glob(filepath.Join(streams, "RECEIPTS_1", "msgs", "*.blk")); len(blocks) == 0 {
		t.Error("its entries are gone")
	}
}

// Entries that no witness knows of keep their stream from being removed, too.
func TestStreamWithEntriesIsNotRemovedWithoutAWitness(t *testing.T) {
	dir, witness := t.TempDir(), t.TempDir()
	cfg := Config{Dir: dir, WitnessDir: witness}
	l, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := l.SubmitTo(context.Background(), 0, []events.Event{{Kind: events.StatisticSeen, App: "o#a", User: "u", Upto: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ticket.Wait(context.Background()), l.Close(context.Background()), os.RemoveAll(witness)); err != nil {
		t.Fatal(err)
	}
	stream := filepath.Join(dir, server.JetStreamStoreDir, logAccount, "streams", "RECEIPTS_0")
	if err := os.Truncate(filepath.Join(stream, server.JetStreamMetaFile), 100); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(context.Background(), cfg); err == nil {
		_ = l.Close(context.Background())
		t.Error("a stream with entries and half of its description is served")
	}
	blocks, _ := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	if len(blocks) != 1 {
		t.Fatalf("its blocks are %q", blocks)
	}
	if info, err := os.Stat(blocks[0]); err != nil || info.Size() == 0 {
		t.Errorf("its block is empty: %v", err)
	}
}

func isWhole(s *blockfile.Stream) bool {
	_, err := s.Meta()
	return err == nil
}

// What a killed start leaves behind besides streams, the next one passes over: the files with which
// the server tries whether it may write, in its store and in a stream, a stream's directory with
// nothing in it, and files that were to be renamed.
func TestLeftoversOfAKilledStart(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, server.JetStreamStoreDir)
	stream := filepath.Join(store, logAccount, "streams", "RECEIPTS_0")
	if err := os.MkdirAll(filepath.Join(stream, "msgs"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		filepath.Join(store, "_test_1"), filepath.Join(store, logAccount, "_test_2"),
		filepath.Join(store, logAccount, "streams", "_test_3"), filepath.Join(stream, "_test_4"),
		filepath.Join(stream, server.JetStreamMetaFile+".tmp"), filepath.Join(stream, "msgs", "1.blk.tmp"),
	} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		l, err := Open(context.Background(), Config{Dir: dir, Partitions: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
