package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events"
)

// seeded is a source of the same bytes each time.
type seeded struct{ sum [32]byte }

func (s *seeded) Read(p []byte) (int, error) {
	s.sum = sha256.Sum256(s.sum[:])
	return copy(p, s.sum[:]), nil
}

func someKey(t testing.TB, source io.Reader) (note.Signer, note.Verifier) {
	t.Helper()
	private, public, err := note.GenerateKey(source, "receiptd/test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

var receipts = []events.Event{
	{App: "acme#chat", Kind: events.MessageRead, Message: "m1", User: "ann", Group: "g", Content: "<on it> & done"},
	{App: "other#app", Kind: events.MessageRead, Message: "m2", User: "ben", Peer: "cleo", Time: 1234},
}

// someEvidence is evidence of the first receipt of an entry of two, in a tree of five.
func someEvidence(t testing.TB, signer note.Signer, o Origin, whole bool) []byte {
	t.Helper()
	var builder events.Builder
	for i := range receipts {
		builder.Add(&receipts[i])
	}
	return evidenceOf(t, signer, o, whole, &receipts[0], Stored{Subject: events.BatchSubject(o.Partition), Data: builder.Encode(nil)})
}

// evidenceOf is evidence of the first event of an entry, in a tree of five.
func evidenceOf(t testing.TB, signer note.Signer, o Origin, whole bool, event *events.Event, entry Stored) []byte {
	t.Helper()
	entry.Sequence, entry.Time = o.Base+3, time.Unix(1700000000, 123456789)
	leaves := make([]Hash, 5)
	for n := range leaves {
		leaves[n] = someLeaf(n)
	}
	leaves[2] = entry.Leaf()
	tree := grow(t, stored{}, leaves, func(int) bool { return false })
	tree.Base = o.Base
	head, err := tree.Head(5)
	if err != nil {
		t.Fatal(err)
	}
	path, err := tree.ProveEntry(entry.Sequence, 5)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := Sign(signer, o, head)
	if err != nil {
		t.Fatal(err)
	}
	by := signer
	if whole {
		by = nil
	}
	o.Log = signer.Name()
	e, err := NewEvidence(entry, event, 0, Inclusion{Path: path, Checkpoint: checkpoint}, o, by)
	if err != nil {
		t.Fatal(err)
	}
	file, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// Evidence is accepted as it was made, and with any bit changed, cut off or added it is not.
func TestEvidenceIsRefusedWithAnyByteChanged(t *testing.T) {
	signer, verifier := someKey(t, new(seeded))
	_, other := someKey(t, &seeded{sum: [32]byte{1}})
	for _, base := range []uint64{0, 70} {
		for _, whole := range []bool{true, false} {
			t.Run(fmt.Sprintf("base %d whole %v", base, whole), func(t *testing.T) {
				file := someEvidence(t, signer, Origin{Partition: 1, Partitions: 4, Base: base}, whole)
				p, err := CheckEvidence(file, verifier)
				if err != nil {
					t.Fatalf("%v\n%s", err, file)
				}
				if x := p.Event; x.User != "ann" || x.Message != "m1" || x.App != "acme#chat" || x.Group != "g" || x.Content != receipts[0].Content ||
					p.Stated == whole || p.Sequence != base+3 || p.Origin.Partition != 1 || p.Head.Base != base || p.Head.Size != 5 || p.Time.UnixNano() != 1700000000123456789 {
					t.Errorf("it proves %+v", p)
				}
				if discloses := strings.Contains(string(file), `"data":`); discloses != whole || strings.Contains(string(file), "cleo") {
					t.Errorf("it discloses the entry: %v\n%s", discloses, file)
				}
				refused := func(what string, file []byte, key note.Verifier) {
					t.Helper()
					if p, err := CheckEvidence(file, key); !errors.Is(err, ErrEvidence) {
						t.Fatalf("%s: accepted, %+v, %v", what, p, err)
					}
				}
				refused("another key", file, other)
				for n := range file {
					for bit := range 8 {
						if (base > 0 || !whole) && bit != n%8 {
							continue // all bits of one file have to do
						}
						file[n] ^= 1 << bit
						refused(fmt.Sprintf("bit %d of byte %d", bit, n), file, verifier)
						file[n] ^= 1 << bit
					}
					refused(fmt.Sprintf("without what follows byte %d", n), file[:n], verifier)
				}
				refused("a byte more", append(file, '\n'), verifier)
			})
		}
	}
}

// What one key signed for one thing is not taken for another.
func TestCheckpointIsOfOneTree(t *testing.T) {
	signer, verifier := someKey(t, new(seeded))
	head := Head{Base: 7, Size: 9, Root: Hash{1}}
	signed, err := Sign(signer, Origin{Partition: 2, Partitions: 3}, head)
	if err != nil {
		t.Fatal(err)
	}
	o, got, err := OpenCheckpoint(verifier, signed)
	if want := (Origin{Log: "receiptd/test", Partition: 2, Partitions: 3, Base: 7}); err != nil || got != head || o != want {
		t.Errorf("%+v, %+v, %v", o, got, err)
	}
	for _, text := range []string{
		"receiptd/test/2of3\n", "receiptd/other/2of3\n9\n" + head.Root.String() + "\n", "receiptd/test/02of3\n9\n" + head.Root.String() + "\n",
		"receiptd/test/2of3/after/0\n9\n" + head.Root.String() + "\n", "receiptd/test/2of3\n-9\n" + head.Root.String() + "\n", "receiptd/test/2of3\n9\nroot\n",
		"receiptd statement\nreceiptd/test/2of3\n" + head.Root.String() + "\n0\n",
	} {
		signed, err := sign(signer, text)
		if err != nil {
			t.Fatal(err)
		}
		if _, head, err := OpenCheckpoint(verifier, signed); !errors.Is(err, ErrNotSigned) {
			t.Errorf("%q is head %+v, %v", text, head, err)
		}
	}
}

// A partition of the log and an entry of another are no evidence, whatever is signed about them.
func TestEntryOfAnotherPartitionIsNoEvidence(t *testing.T) {
	signer, verifier := someKey(t, new(seeded))
	file := someEvidence(t, signer, Origin{Partition: 1, Partitions: 4}, true)
	head := Head{Size: 5}
	binary.BigEndian.PutUint64(head.Root[:], 1)
	for _, o := range []Origin{{Partition: 2, Partitions: 4}, {Partition: 1, Partitions: 4}} {
		signed, err := Sign(signer, o, head)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(file), "receiptd/test/1of4", "receiptd/test/2of4", 1)
		if o.Partition == 1 {
			changed = strings.Replace(string(file), strings.Split(string(file), `"checkpoint": `)[1], fmt.Sprintf("%q\n}\n", signed), 1)
		}
		if p, err := CheckEvidence([]byte(changed), verifier); err == nil {
			t.Errorf("%+v: accepted: %+v", o, p)
		}
	}
}

// An outside producer's name for its message is the event's id, so the evidence has it and the head
// binds it.
func TestEvidenceBindsTheNameOfAnEntry(t *testing.T) {
	signer, verifier := someKey(t, new(seeded))
	event := receipts[0]
	o := Origin{Partition: events.Partition(&event, 4), Partitions: 4}
	entry := Stored{
		Subject: fmt.Sprintf("receipts.v1.%d.message-read.acme.chat", o.Partition),
		MsgID:   "retry-7", Data: events.AppendJSON(nil, &event),
	}
	event.EventID = events.EventIDOf(entry.MsgID)
	file := evidenceOf(t, signer, o, true, &event, entry)
	p, err := CheckEvidence(file, verifier)
	if err != nil || p.Event.EventID != "retry-7" {
		t.Fatalf("it proves %+v, %v\n%s", p, err, file)
	}
	for _, name := range []string{`"retry-8"`, `""`} {
		changed := strings.ReplaceAll(string(file), `"retry-7"`, name)
		if p, err := CheckEvidence([]byte(changed), verifier); !errors.Is(err, ErrEvidence) {
			t.Errorf("accepted with the name %s: %+v, %v", name, p, err)
		}
	}
}

// Whatever file comes, it is evidence as it was made or none.
func FuzzEvidence(f *testing.F) {
	signer, verifier := someKey(f, new(seeded))
	made := map[string]bool{}
	for _, base := range []uint64{0, 70} {
		for _, whole := range []bool{true, false} {
			file := someEvidence(f, signer, Origin{Partition: 1, Partitions: 4, Base: base}, whole)
			made[string(file)] = true
			f.Add(file)
		}
	}
	f.Add([]byte(`{"format":"x"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		switch p, err := CheckEvidence(file, verifier); {
		case err == nil && !made[string(file)]:
			t.Fatalf("accepted: %+v", p)
		case err != nil && (!errors.Is(err, ErrEvidence) || p.Sequence != 0 || p.Event.User != ""):
			t.Fatalf("%+v, %v", p, err)
		}
	})
}
