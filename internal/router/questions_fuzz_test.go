package router

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// nothing is a backing without anything in it: all of a small state is in memory.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error)                               { return nil, nil }
func (nothing) Scan([]byte, func(key, value []byte) error) error         { return nil }
func (nothing) Range(_, _ []byte, _ func(key, value []byte) error) error { return nil }

// FuzzArgs: whatever another node asks about, by any name, it is refused, or answered from the
// state by what goes over the wire and says the same when it is read there.
func FuzzArgs(f *testing.F) {
	part, err := projections.Open(0, nothing{}, projections.Options{})
	if err != nil {
		f.Fatal(err)
	}
	var asked []args
	var batch events.Batch
	for _, e := range history.Logs().Example(1) {
		batch.SetEvents(e.Events)
		x := projections.Decoded{Sequence: e.Sequence, At: e.At, Fingerprint: e.Sequence, Batch: &batch, Poison: e.Poison}
		if _, err := part.Apply(x); err != nil {
			f.Fatal(err)
		}
		for i := range e.Events {
			v := &e.Events[i]
			a := args{App: v.App, Group: v.Group, Peer: v.Peer, User: v.User, ID: v.Message, IDs: []string{v.Message}, Limit: 3}
			if a.In = (events.Conversation{App: v.App, Group: v.Group}); v.Group == "" {
				a.In = events.SingleChat(v.App, v.User, v.Peer)
			}
			asked = append(asked, a)
		}
	}
	names := slices.Sorted(maps.Keys(questions))
	for which := range names {
		a := &asked[which*len(asked)/len(names)]
		for _, change := range []func(){func() {}, func() { a.Offset, a.Before, a.To = 1, 2, projections.RelationSent }, func() { a.Limit = -1 }, func() { a.Limit = 1 << 62 }} {
			change()
			text, err := json.Marshal(a)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(which), text)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		name := names[int(which)%len(names)]
		a, err := readArgs(text)
		if err != nil {
			return
		}
		result, err := questions[name](part, a)
		if err != nil {
			p := problem(err)
			if again := problem(cause(p)); p.Code != again.Code || !bytes.Equal(p.Details, again.Details) {
				t.Errorf("%s %s: %v goes over the wire as %+v and comes as %+v", name, text, err, p, again)
			}
			return
		}
		sent, err := json.Marshal(result)
		if err != nil {
			t.Fatalf("%s %s: %v", name, text, err)
		}
		got := reflect.New(reflect.TypeOf(result))
		if err := json.Unmarshal(sent, got.Interface()); err != nil {
			t.Fatalf("%s %s: %s: %v", name, text, sent, err)
		}
		if again, err := json.Marshal(got.Interface()); err != nil || !bytes.Equal(again, sent) {
			t.Errorf("%s %s: sent %s, read %s, %v", name, text, sent, again, err)
		}
	})
}
