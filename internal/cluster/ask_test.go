package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

func isNoCopy(err error) bool {
	_, ok := errors.AsType[*NoCopyError](err)
	return ok
}

// Whoever asks is told whether there is a copy that was only behind, and of which partition there
// is none.
func TestWhyNobodyAnswers(t *testing.T) {
	of := []eventlog.Position{{Partition: 0, Sequence: 5}, {Partition: 1, Sequence: 7}}
	good := Answer{Position: of[0]}
	problem := func(p Problem) Answer { return Answer{Position: of[1], Problem: &p} }
	for name, test := range map[string]struct {
		answers []Answer
		nobody  bool // not even asked
		behind  bool
	}{
		"none is heard of":            {nobody: true},
		"no answers":                  {},
		"it is not there":             {answers: []Answer{good, problem(Problem{Code: Unavailable, Text: "gone"})}},
		"it is behind":                {answers: []Answer{good, problem(Problem{Code: Unavailable, Text: "late", Behind: true})}, behind: true},
		"it is older than was wanted": {answers: []Answer{good, {Position: eventlog.Position{Partition: 1, Sequence: 6}}}, behind: true},
		"another one is not there":    {answers: []Answer{good, problem(Problem{Code: "not_found"}), good}, nobody: true},
	} {
		text, err := json.Marshal(test.answers)
		if err != nil {
			t.Fatal(err)
		}
		bus := oneBus{answer: func([]byte) []byte { return text }}
		a := Asker{Bus: &bus, Copies: func(partition int) (preferred, others []string) {
			if partition == 1 && test.nobody {
				return nil, nil
			}
			return []string{"a"}, nil
		}}
		_, err = a.Ask(t.Context(), Question{Name: "q", Of: of})
		none, ok := errors.AsType[*NoCopyError](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := 1
		if len(test.answers) == 0 {
			want = 0 // the first of those that are missing
		}
		if none.Partition != want || errors.Is(err, context.DeadlineExceeded) != test.behind || none.Why == nil {
			t.Errorf("%s: partition %d, want %d: %v", name, none.Partition, want, err)
		}
	}
}

// lossyBus loses the first questions.
type lossyBus struct {
	oneBus
	lost atomic.Int32
}

func (b *lossyBus) Ask(ctx context.Context, node string, question []byte) ([]byte, error) {
	if b.lost.Add(-1) >= 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return b.oneBus.Ask(ctx, node, question)
}

// A message that is lost on its way costs half a second where nobody else has the partition, and
// not all the time that there is.
func TestTheOnlyCopyIsAskedAgain(t *testing.T) {
	for lost, want := range []time.Duration{0, againAfter, 3 * againAfter} {
		synctest.Test(t, func(t *testing.T) {
			text, err := json.Marshal([]Answer{{Position: eventlog.Position{Partition: 0, Sequence: 5}}})
			if err != nil {
				t.Fatal(err)
			}
			bus := lossyBus{oneBus: oneBus{answer: func([]byte) []byte { return text }}}
			bus.lost.Store(int32(lost))
			a := Asker{Bus: &bus, Copies: func(int) (preferred, others []string) { return []string{"a"}, nil }}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			if _, err := a.Ask(ctx, Question{Name: "q", Of: []eventlog.Position{{Partition: 0, Sequence: 5}}}); err != nil || time.Since(began) != want {
				t.Errorf("%d lost: after %s: %v", lost, time.Since(began), err)
			}
		})
	}
}
