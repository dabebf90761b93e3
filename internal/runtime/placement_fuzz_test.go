package runtime

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
)

// FuzzProofQuestion: whatever another node asks this one to do for it, of whatever partition, it
// is refused, or done: a head is the log's own, a proof shows what it is of, and evidence can be
// checked by somebody who has nothing but the log's key.
func FuzzProofQuestion(f *testing.F) {
	r := start(f, testConfig(f))
	if _, err := r.Configure(testContext(f), app, limit(100)); err != nil {
		f.Fatal(err)
	}
	for _, id := range []string{"g", "h", "i"} {
		for _, e := range group(id, 2) {
			if err := r.append(e).Wait(testContext(f)); err != nil {
				f.Fatal(err)
			}
		}
	}
	r.caughtUp()
	calls := r.calls()
	names := slices.Sorted(maps.Keys(calls))
	verifier, err := note.NewVerifier(r.notary.Key())
	if err != nil {
		f.Fatal(err)
	}
	for which := range names {
		for _, x := range []proofOf{
			{}, {From: 1, To: 3, Sequence: 2}, {From: 3, To: 1}, {To: 1<<64 - 1, From: 1<<64 - 1, Sequence: 1<<64 - 1},
			{In: events.Conversation{App: app, Group: "g"}, Message: "g-a", User: "bob"},
			{In: events.Conversation{App: app, Group: "g"}, Message: "g-a", User: "bob", Whole: true},
			{In: events.Conversation{App: app, Group: "g"}, Message: "g-a", User: "nobody"},
			{In: events.Conversation{App: app, A: "b", B: "a"}, Message: "g-a", User: "bob"},
		} {
			text, err := json.Marshal(x)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(which), 0, text)
			f.Add(uint8(which), -1, text)
			f.Add(uint8(which), partitions, text)
		}
		f.Add(uint8(which), 1, []byte(`null`))
		f.Add(uint8(which), 1, []byte(``))
	}
	f.Fuzz(func(t *testing.T, which uint8, partition int, text []byte) {
		name := names[int(which)%len(names)]
		if name == callDigest && (partition < 0 || partition >= partitions) {
			return // the router, which is asked first, knows which there are
		}
		result, err := calls[name](t.Context(), partition, text)
		if err != nil {
			return
		}
		sent, err := json.Marshal(result)
		if err != nil {
			t.Fatalf("%s of %d %q: %v", name, partition, text, err)
		}
		var x proofOf
		_ = json.Unmarshal(text, &x)
		head := func(signed string) merkle.Head {
			o, head, err := merkle.OpenCheckpoint(verifier, signed)
			if err != nil || o.Partition != partition || head.Size == 0 {
				t.Errorf("%s of %d %q: head %+v of %+v, %v", name, partition, text, head, o, err)
			}
			return head
		}
		switch name {
		case callCheckpoint:
			var signed string
			mustRead(t, sent, &signed)
			if got := head(signed); x.To != 0 && got.Size != x.To {
				t.Errorf("%q: the head of size %d", text, got.Size)
			}
		case callConsistency:
			var c merkle.Consistency
			mustRead(t, sent, &c)
			if err := merkle.CheckConsistency(c.Proof, head(c.From), head(c.To)); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		case callInclusion:
			var i merkle.Inclusion
			mustRead(t, sent, &i)
			h := head(i.Checkpoint)
			if err := tlog.CheckRecord(i.Path, int64(h.Size), h.Root, int64(i.Sequence-h.Base-1), i.Leaf); err != nil || i.Sequence != x.Sequence {
				t.Errorf("%q: entry %d, %v", text, i.Sequence, err)
			}
		case callEvidence:
			var file []byte
			mustRead(t, sent, &file)
			p, err := merkle.CheckEvidence(file, verifier)
			if e := &p.Event; err != nil || e.User != x.User || e.Message != x.Message || e.App != x.In.App || e.Group != x.In.Group {
				t.Errorf("%q: evidence of %+v, %v", text, e, err)
			}
		}
	})
}

func mustRead(t *testing.T, sent []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(sent, into); err != nil {
		t.Fatalf("%s: %v", sent, err)
	}
}
