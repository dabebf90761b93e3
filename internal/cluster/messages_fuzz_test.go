package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// FuzzBeat: whatever is told as the beat of another node, what this node says of itself stays what
// it is, all that is made of beats can be made, and the copy that is furthest is preferred.
func FuzzBeat(f *testing.F) {
	for _, b := range []beat{
		{Node: "a", Life: "1", Log: 1, State: StateServing, Copies: []copyBeat{{Applied: 9, Compare: 9, Checksum: Checksum{Sequence: 9, Chain: "c", Digest: "y"}}}},
		{Node: "b", Life: "2", Log: 1, State: StateServing, MaxLevel: 1 << 63, Copies: []copyBeat{{Applied: 1<<64 - 1}, {Quarantined: true}}},
		{Node: "c", Life: "2", Log: 1, State: "?"},
		{Life: "3", Log: 1, State: StateServing, Copies: []copyBeat{{Applied: 9}}},
	} {
		text, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, _ := newNodeC(Checksum{Sequence: 9, Chain: "c", Digest: "x"})
		n.members.note(n.beat())
		n.hear("d", Checksum{Sequence: 9, Chain: "c", Digest: "x"}, false)
		before, err := json.Marshal(n.members.nodes["c"].beat)
		if err != nil {
			t.Fatal(err)
		}
		n.members.receive(text)
		if after, err := json.Marshal(n.members.nodes["c"].beat); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%q: this node says of itself %s, %v", text, after, err)
		}
		nodes := n.members.list()
		if len(nodes) > 3 || nodes[0].Node == "" {
			t.Errorf("%q: %d nodes, the first is %q", text, len(nodes), nodes[0].Node)
		}
		preferred, others := n.members.copiesOf(0)
		var furthest *member
		for i := range nodes {
			m := &nodes[i]
			asked := slices.Contains(preferred, m.Node) || slices.Contains(others, m.Node)
			if c := m.copy(0); m.Node != "c" && asked != (c != nil && c.serves()) {
				t.Errorf("%q: of %s it is asked: %v", text, m.Node, asked)
			}
			if m.copy(0) != nil && (furthest == nil || m.Copies[0].Applied > furthest.Copies[0].Applied) {
				furthest = m
			}
		}
		if m := furthest; m.Node != "c" && m.State == StateServing && m.Copies[0].serves() && m.Copies[0].Phase == "" && !slices.Contains(preferred, m.Node) {
			t.Errorf("%q: %s is furthest, and not preferred", text, m.Node)
		}
		for _, p := range n.members.view(1).Partitions {
			for _, c := range p.Copies {
				if c.Applied == furthest.Copies[0].Applied && c.State == StateFollowing {
					t.Errorf("%q: %s is furthest, and following", text, c.Node)
				}
			}
		}
		if _, err := json.Marshal(n.Describe()); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		heard := map[string]*member{}
		for i := range nodes {
			heard[nodes[i].Node] = &nodes[i]
		}
		if level := levelOf(heard); level > 1 {
			t.Errorf("%q: the level is %d, and this node knows 1", text, level)
		}
		n.judge(0, nodes)
		n.proposed(0, nodes)
		n.propose(0, 9, nodes)
	})
}

// oneBus carries one question: what is asked, and what it is answered by.
type oneBus struct {
	answer func([]byte) []byte
}

func (b *oneBus) Tell(string, []byte) error           { return nil }
func (b *oneBus) Listen(func([]byte)) (func(), error) { return func() {}, nil }
func (b *oneBus) Ask(_ context.Context, _ string, question []byte) ([]byte, error) {
	return b.answer(question), nil
}

func (b *oneBus) Answer(_ string, f func([]byte) []byte) (func(), error) {
	b.answer = f
	return func() {}, nil
}

// FuzzQuestion: whatever comes as a question of another node, there is an answer for each of its
// partitions, in its order, by when it asked and within maxWait; to what is no question there is
// none.
func FuzzQuestion(f *testing.F) {
	for _, q := range []Question{
		{Name: "readers", Args: json.RawMessage(`{"ID":"m"}`), Of: []eventlog.Position{{Partition: 0, Sequence: 7}, {Partition: 1, Sequence: 8}}, Wait: 50},
		{Name: "position", Args: json.RawMessage(`null`), Of: []eventlog.Position{{Partition: -1, Sequence: 0}}, Wait: 1 << 62},
		{Args: json.RawMessage(`[]`), Wait: -1},
	} {
		text, err := json.Marshal(q)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var q Question
		want := json.Unmarshal(text, &q) == nil
		most := maxWait
		if q.Wait > 0 && q.Wait < most.Milliseconds() {
			most = time.Duration(q.Wait) * time.Millisecond
		}
		var bus oneBus
		var asked []eventlog.Position
		began := time.Now()
		stop, err := answer(&bus, "a", func(ctx context.Context, _ *Question, of eventlog.Position) Answer {
			asked = append(asked, of)
			end, ok := ctx.Deadline()
			if left := end.Sub(began); !ok || left < most || left > most+time.Minute {
				t.Errorf("%q: answered within %v, want %v", text, left, most)
			}
			return Answer{Position: of}
		})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		var list []Answer
		if err := json.Unmarshal(bus.answer(text), &list); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !want {
			q.Of = nil
		}
		if !slices.Equal(asked, q.Of) || len(list) != len(asked) {
			t.Errorf("%q: %v were asked, %d answered, want %v", text, asked, len(list), q.Of)
		}
	})
}

// FuzzAnswers: whatever another node answers, each of the partitions that were asked for has an
// answer that is its own and as new as was asked, or nobody answers.
func FuzzAnswers(f *testing.F) {
	of := []eventlog.Position{{Partition: 0, Sequence: 7}, {Partition: 3, Sequence: 8}}
	for _, list := range [][]Answer{
		{{Position: of[0], Result: json.RawMessage(`1`)}, {Position: of[1], Problem: &Problem{Code: "not_found"}}},
		{{Position: of[1]}, {Position: of[0]}},
		{{Position: of[0]}, {Position: of[1], Problem: &Problem{Code: Unavailable, Text: "folding"}}, {}},
		{{Position: eventlog.Position{Partition: 0, Sequence: 6}}},
	} {
		text, err := json.Marshal(list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		bus := oneBus{answer: func([]byte) []byte { return text }}
		a := Asker{Bus: &bus, Copies: func(int) (preferred, others []string) { return []string{"a"}, []string{"b"} }}
		got, err := a.Ask(t.Context(), Question{Name: "q", Of: slices.Clone(of)})
		if err != nil {
			if !isNoCopy(err) || got != nil {
				t.Errorf("%q: %v, %v", text, got, err)
			}
			return
		}
		if len(got) != len(of) {
			t.Fatalf("%q: %d answers", text, len(got))
		}
		for i, x := range got {
			if x.Partition != of[i].Partition || x.Sequence < of[i].Sequence || x.Problem != nil && x.Problem.Code == Unavailable {
				t.Errorf("%q: %+v was asked, and the answer is %+v", text, of[i], x)
			}
		}
	})
}
