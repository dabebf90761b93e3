package notary

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/lab/consumertest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/projections"
)

// folded is a log, its state, and a notary of both.
type folded struct {
	*Notary
	t   *testing.T
	log *consumertest.Log
	p   *projector.Projector
}

func open(t *testing.T, log *consumertest.Log, data string) *folded {
	t.Helper()
	p, err := projector.New(consumertest.Context(t), log, projector.Options{Dir: filepath.Join(data, "state"), Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, p.Close()); err != nil {
			t.Error(err)
		}
	})
	f := &folded{t: t, log: log, p: p}
	f.caughtUp()
	f.Notary, err = Open(Options{Data: data, Log: log, State: p, Logger: natstest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// caughtUp waits until everything is folded and in a checkpoint.
func (f *folded) caughtUp() {
	f.t.Helper()
	for k := range f.log.Partitions() {
		last := f.log.Last(k)
		if err := f.p.WaitFor(consumertest.Context(f.t), k, last); err != nil {
			f.t.Fatal(err)
		}
		tree, err := f.p.Tree(k, last)
		if err == nil {
			err = tree.Release()
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *folded) verifier() note.Verifier {
	v, err := note.NewVerifier(f.Key())
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// where is the conversation of a message: that of ann and ben, or the group.
func where(message string) events.Conversation {
	switch message {
	case "s1":
		return events.SingleChat(consumertest.App, "ben", "ann")
	case "s2":
		return events.SingleChat(consumertest.App, "cleo", "ann")
	}
	return events.Conversation{App: consumertest.App, Group: "g"}
}

// TestEvidenceOfEveryWayToRead: at once, twice, before the message came, with all of a single chat,
// and reported later. What was not read, or has left the log, there is no evidence of.
func TestEvidenceOfEveryWayToRead(t *testing.T) {
	log := consumertest.Open(t, 1)
	log.Group(5)
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.ReceiptTime = true, events.ReceiptTimeReported
	read := func(who int) events.Event { return consumertest.ReadBy(1, who) }
	twice := read(1)
	twice.Content = "again"
	log.Put(1, read(2))              // waits for its message
	time.Sleep(5 * time.Millisecond) // so that the next entry has another time
	log.Put(10, consumertest.Sent(0), consumertest.Sent(1), read(0), consumertest.ReadBy(0, 3))
	log.Put(1, read(1), twice)
	log.Put(2,
		events.Event{Kind: events.MessageSent, App: consumertest.App, User: "ann", Peer: "ben", Message: "s1"},
		events.Event{Kind: events.ConversationRead, App: consumertest.App, User: "ben", Peer: "ann"})
	// Later, one reports when they read; so does who reads another chat.
	log.Configure(consumertest.App, settings, 2)
	time.Sleep(5 * time.Millisecond) // so that the next entry has another time
	late := consumertest.ReadBy(0, 4)
	late.Time = time.Now().UnixMilli() - 3
	log.Put(3, events.Event{Kind: events.MessageSent, App: consumertest.App, User: "ann", Peer: "cleo", Message: "s2"})
	time.Sleep(5 * time.Millisecond) // so that the next entry has another time
	log.Put(4, late, events.Event{Kind: events.ConversationRead, App: consumertest.App, User: "cleo", Peer: "ann", Time: late.Time - 1000})
	f := open(t, log, t.TempDir())
	f.caughtUp()
	ctx := consumertest.Context(t)
	for _, test := range []struct {
		message, user, content string
		kind                   events.Kind
		stated                 bool
	}{
		{"m1", "reader0", "", events.MessageRead, true},
		{"m1", "reader1", "", events.MessageRead, false},
		{"m1", "reader2", "", events.MessageRead, false},
		{"m0", "reader3", "", events.MessageRead, true},
		{"s1", "ben", "", events.ConversationRead, true},
		{"m0", "reader4", "", events.MessageRead, true},
		{"s2", "cleo", "", events.ConversationRead, true},
	} {
		in := where(test.message)
		for _, whole := range []bool{true, false} {
			file, err := f.Evidence(ctx, in, test.message, test.user, whole)
			if err != nil {
				t.Errorf("%s by %s: %v", test.message, test.user, err)
				continue
			}
			p, err := merkle.CheckEvidence(file, f.verifier())
			x := p.Event
			if err != nil || x.Kind != test.kind || x.User != test.user || x.Content != test.content || p.Stated != (test.stated && !whole) ||
				test.kind == events.MessageRead && x.Message != test.message {
				t.Errorf("%s by %s, whole %v: %+v, %v", test.message, test.user, whole, p, err)
			}
		}
	}
	for user, message := range map[string]string{"reader3": "m1", "ann": "s1", "nobody": "m1", "reader0": "m7"} {
		if _, err := f.Evidence(ctx, where(message), message, user, false); !errors.Is(err, projections.ErrNotFound) {
			t.Errorf("%s by %s, who has not read it: %v", message, user, err)
		}
	}
	log.Purge(0, log.Last(0)+1)
	if _, err := f.Evidence(ctx, where("m1"), "m1", "reader0", true); !errors.Is(err, eventlog.ErrTrimmed) {
		t.Errorf("of an entry that has left the log: %v", err)
	}
	if _, err := f.Checkpoint(0, 1); err != nil {
		t.Errorf("a head of entries that have left the log: %v", err)
	}
}

// TestAnotherTreeIsNotSigned: a tree that lacks a head that was kept stops the notary, at a start
// and later; one that has not grown so far is not signed before it has.
func TestAnotherTreeIsNotSigned(t *testing.T) {
	data := t.TempDir()
	log := consumertest.Open(t, 1)
	log.Group(2)
	log.Put(1, consumertest.Burst(0, 5, 2)...)
	f := open(t, log, data)
	f.caughtUp()
	if err := f.attestAll(true); err != nil {
		t.Fatal(err)
	}
	kept, err := readKept(data, 0)
	if err != nil || len(kept) == 0 || kept[len(kept)-1].Size != log.Last(0) {
		t.Fatalf("kept %+v, %v", kept, err)
	}
	want := kept[len(kept)-1]

	// The same key and heads beside another log.
	other := t.TempDir()
	for _, name := range []string{KeyFile, HeadsDir} {
		if err := os.Rename(filepath.Join(data, name), filepath.Join(other, name)); err != nil {
			t.Fatal(err)
		}
	}
	log = consumertest.Open(t, 1)
	log.Group(2)
	f = open(t, log, other)
	if _, err := f.Checkpoint(0, 0); !errors.Is(err, merkle.ErrOutside) {
		t.Errorf("a head is signed before it can be compared: %v", err)
	}
	log.Put(1, consumertest.Burst(0, 5, 2)...)
	f.caughtUp()
	if log.Last(0) < want.Size {
		t.Fatalf("the other log has %d entries", log.Last(0))
	}
	if _, err := f.Checkpoint(0, 0); !errors.Is(err, errRewritten) {
		t.Errorf("another tree is signed: %v", err)
	}
	ctx, cancel := context.WithTimeout(consumertest.Context(t), time.Minute)
	defer cancel()
	if err := f.Run(ctx); !errors.Is(err, errRewritten) || ctx.Err() != nil {
		t.Errorf("the notary goes on: %v", err)
	}
	if _, err := Open(Options{Data: other, Log: log, State: f.p, Logger: natstest.Logger(t)}); !errors.Is(err, errRewritten) {
		t.Errorf("the notary starts: %v", err)
	}
	result, err := f.p.Rebuild(ctx, projector.RebuildOptions{Heads: func(k int) ([]merkle.Head, error) { return KnownHeads(other, log, k) }})
	if err != nil || result.Equal || result.Partitions[0].Rewritten == nil || result.Partitions[0].Live != result.Partitions[0].Replayed {
		t.Errorf("verify: %+v, %v", result, err)
	}

	// Put aside, they are no hindrance.
	if err := SetAside(other, time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := Open(Options{Data: other, Log: log, State: f.p, Logger: natstest.Logger(t)}); err != nil || n.Key() == f.Key() {
		t.Errorf("with a new key: %v", err)
	}
}

// What a crash left of a line is passed over, and what somebody else signed is an error.
func TestKeptHeadsAreOurs(t *testing.T) {
	data := t.TempDir()
	k, err := openKey(filepath.Join(data, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	head := merkle.Head{Size: 3, Root: merkle.Hash{1}}
	signed, err := merkle.Sign(k.signer, merkle.Origin{Partitions: 1}, head)
	if err != nil {
		t.Fatal(err)
	}
	path := keptFile(data, 0)
	for range 2 {
		if err := keep(data, 0, signed); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, append(text, text[:len(text)/3]...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if heads, err := readKept(data, 0); err != nil || len(heads) < 2 || heads[1] != head {
		t.Errorf("%+v, %v", heads, err)
	}
	if err := os.Remove(filepath.Join(data, KeyFile)); err != nil {
		t.Fatal(err)
	}
	if again, err := openKey(filepath.Join(data, KeyFile)); err != nil || again.public == k.public {
		t.Fatalf("%v", err)
	}
	if heads, err := readKept(data, 0); err == nil {
		t.Errorf("of another key: %+v", heads)
	}
}
