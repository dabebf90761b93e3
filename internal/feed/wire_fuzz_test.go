package feed

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/projections"
)

// served is a state that always serves, and stands at entry 10.
type served struct{ State }

func (served) Serves(int, uint64) bool                           { return true }
func (served) Ask(int, func(*projections.Partition) error) error { return nil }

// FuzzRequest: whatever another node asks, it is answered within the time that an answer may take,
// no more users are told of than it had room to name, and a feed of somebody else is left alone.
func FuzzRequest(f *testing.F) {
	for _, rq := range []request{
		{ID: "y", First: true, Last: true, Whom: encodeHashes([]uint64{1, 2})}, {ID: "y", First: true}, {ID: "y", Last: true},
		{ID: "y", Poll: true, After: 9, Wait: 1 << 62}, {ID: "y", Poll: true, Wait: -1}, {ID: "y", Partition: -1}, {ID: "y", Partition: 1 << 40},
	} {
		text, err := json.Marshal(rq)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		synctest.Test(t, func(t *testing.T) {
			feeds := New(notify.New(1, notify.Options{}), 1)
			feeds.Join(Options{State: served{}, Registerer: prometheus.NewRegistry()})
			out := &feeds.Of(0).out
			own := request{ID: "x", First: true, Last: true, Whom: encodeHashes([]uint64{hash("o#a", "alice")})}
			if x := out.name(&own, func() (uint64, error) { return 10, nil }); x.Users != 1 {
				t.Fatalf("%+v", x)
			}
			began := time.Now()
			var x reply
			if err := json.Unmarshal(feeds.answer(t.Context(), text), &x); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > waitMax+gather {
				t.Errorf("%q: answered after %v", text, took)
			}
			if x.Users > 1+len(text)/hashBytes {
				t.Errorf("%q: %d users", text, x.Users)
			}
			var rq request
			if _ = json.Unmarshal(text, &rq); rq.ID != "x" && !out.wants("o#a", "alice") {
				t.Errorf("%q: another feed has changed", text)
			}
		})
	})
}

// FuzzReply: whatever a copy answers, what is told is of the partition, later than what was told
// before, and in order; and the watermark does not go back.
func FuzzReply(f *testing.F) {
	e := func(partition int, sequence uint64) projections.Effect {
		return projections.Effect{App: "o#a", To: "alice", Partition: partition, Sequence: sequence}
	}
	for _, x := range []reply{
		{After: 10, Upto: 12, Effects: []projections.Effect{e(0, 11), e(0, 12)}}, {After: 8, Upto: 12, Effects: []projections.Effect{e(0, 9), e(0, 12)}},
		{After: 10, Upto: 12, Effects: []projections.Effect{e(0, 12), e(0, 11)}}, {After: 10, Upto: 12, Effects: []projections.Effect{e(7, 11)}},
		{After: 10, Upto: 5}, {After: 20, Upto: 1<<64 - 1}, {Upto: 11, Effects: []projections.Effect{e(0, 99)}},
	} {
		text, err := json.Marshal(x)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var x reply
		if json.Unmarshal(text, &x) != nil || !x.sound(0) {
			return
		}
		hub := &pushed{Hub: notify.New(1, notify.Options{})}
		n := incoming{hub: hub, source: other, upto: 10}
		n.take(&x)
		for i, sequence := range hub.sequences {
			if sequence <= 10 || sequence <= x.After || i > 0 && sequence < hub.sequences[i-1] {
				t.Errorf("%q: told %v", text, hub.sequences)
			}
		}
		if n.upto < max(10, x.After, x.Upto) {
			t.Errorf("%q: the watermark is %d", text, n.upto)
		}
		before := len(hub.sequences)
		if n.take(&x); len(hub.sequences) != before {
			t.Errorf("%q: told again", text)
		}
	})
}

// pushed notes what is pushed.
type pushed struct {
	*notify.Hub
	sequences []uint64
}

func (p *pushed) Push(list []projections.Effect) {
	for i := range list {
		p.sequences = append(p.sequences, list[i].Sequence)
	}
	p.Hub.Push(list)
}
