package blockfile_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

func lostStand(sequence uint64) (r blockfile.Record, lost bool) {
	return blockfile.Record{Subject: []byte("s.lost"), Data: fmt.Appendf(nil, "lost %d", sequence)}, true
}

// sound refuses what a flipped bit in the length of a subject leaves.
func sound(r *blockfile.Record) bool {
	return string(r.Subject) == "s.batch" || string(r.Subject) == "s.lost"
}

// Whatever is broken in a stream's blocks, mended the server opens it: every message that was good
// is what it was, every other is replaced, and the files before are kept.
func TestMendedStreamIsOpenedByTheServer(t *testing.T) {
	const messages = 200
	random := rand.New(rand.NewPCG(5, 6))
	for name, damage := range map[string]func(s *store){
		"a bit": func(s *store) { s.flip(s.blocks[1], random) },
		"where a subject ends, which no hash covers": func(s *store) {
			data, err := os.ReadFile(s.blocks[1])
			must(t, err)
			data[20] ^= 1 // the length of the first record's subject
			must(t, os.WriteFile(s.blocks[1], data, 0o600))
		},
		"bits in all blocks": func(s *store) {
			for _, b := range s.blocks {
				s.flip(b, random)
			}
		},
		"a block is missing":                      func(s *store) { must(t, os.Remove(s.blocks[1])) },
		"the first block is gone":                 func(s *store) { must(t, os.Remove(s.blocks[0])) },
		"the last block is gone":                  func(s *store) { must(t, os.Remove(s.blocks[len(s.blocks)-1])) },
		"all blocks and their directory are gone": func(s *store) { must(t, os.RemoveAll(filepath.Dir(s.blocks[0]))) },
		"the tail is cut":                         func(s *store) { must(t, os.Truncate(s.blocks[len(s.blocks)-1], 1000)) },
		"a block is cut":                          func(s *store) { must(t, os.Truncate(s.blocks[0], 1000)) },
		"a block has other content":               func(s *store) { must(t, os.WriteFile(s.blocks[2], make([]byte, 5000), 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := fill(t, messages, nil)
			damage(s)
			before := map[string]string{}
			for _, b := range s.blocks {
				if content, err := os.ReadFile(b); err == nil {
					before[b] = string(content)
				}
			}
			aside := filepath.Join(t.TempDir(), "aside")
			atomicfile.AfterSync = func() { // where a crash may come
				for b := range before {
					if _, err := os.Stat(b); err != nil {
						t.Errorf("meanwhile: %v", err)
					}
				}
			}
			lost, err := s.stream.Mend(1, messages, sound, lostStand, aside)
			atomicfile.AfterSync = nil
			must(t, err)
			if len(lost) == 0 {
				t.Fatal("nothing was lost")
			}
			r := s.scan(whole)
			if r.First != 1 || r.Last != messages || r.Messages != messages || len(r.Damage) != 0 || r.Torn != nil {
				t.Fatalf("mended: %+v", r)
			}
			for b, content := range before {
				there, err := os.ReadFile(b)
				must(t, err)
				kept, _ := os.ReadFile(filepath.Join(aside, filepath.Base(b)))
				if string(there) != content && string(kept) != content {
					t.Errorf("%s as it was is neither there nor aside", filepath.Base(b))
				}
			}
			s.served(messages, lost)
			if again, err := s.stream.Mend(1, messages, sound, lostStand, aside); err != nil || len(again) != 0 {
				t.Errorf("mended again: %v, %v", again, err)
			}
		})
	}
}

func (s *store) flip(block string, random *rand.Rand) {
	b, err := os.ReadFile(block)
	must(s.t, err)
	b[random.IntN(len(b))] ^= 1 << random.IntN(8)
	must(s.t, os.WriteFile(block, b, 0o600))
}

// served opens the stream with the server and looks at every message.
func (s *store) served(messages uint64, lost []blockfile.Lost) {
	s.t.Helper()
	dir := s.stream.Dir // DIR/jetstream/$G/streams/S
	for range 4 {
		dir = filepath.Dir(dir)
	}
	srv, err := server.NewServer(&server.Options{DontListen: true, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	must(s.t, err)
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	must(s.t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(s.t, err)
	stream, err := js.Stream(context.Background(), "S")
	must(s.t, err)
	if i := stream.CachedInfo().State; i.FirstSeq != 1 || i.LastSeq != messages || i.Msgs != messages {
		s.t.Fatalf("state %+v", i)
	}
	for sequence := uint64(1); sequence <= messages; sequence++ {
		m, err := stream.GetMsg(context.Background(), sequence)
		must(s.t, err)
		gone := false
		for _, l := range lost {
			gone = gone || l.First <= sequence && sequence <= l.Last
		}
		want := fmt.Sprint(sequence, " x")
		if gone {
			want = fmt.Sprint("lost ", sequence)
		}
		if string(m.Data[:len(want)]) != want {
			s.t.Fatalf("message %d: %.20s, want %s", sequence, m.Data, want)
		}
	}
	_, err = js.Publish(context.Background(), "s.more", nil)
	must(s.t, err)
	must(s.t, stream.DeleteMsg(context.Background(), messages+1))
}
