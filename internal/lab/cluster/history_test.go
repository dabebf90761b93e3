package cluster

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what clients did and saw.
type history struct {
	begin time.Time

	mu sync.Mutex
	// tried and acked are who was reported to have read a message, and of whom that was
	// acknowledged.
	tried, acked map[string]map[string]bool
	// sent are messages whose sending was acknowledged, and groups where they were sent to.
	sent   []string
	groups map[string]string
	// ops are reads of messages and questions after their number, which asked for all that was
	// acknowledged.
	ops []porcupine.Operation
}

func newHistory() *history {
	return &history{begin: time.Now(), tried: map[string]map[string]bool{}, acked: map[string]map[string]bool{}, groups: map[string]string{}}
}

func (h *history) now() int64 { return int64(time.Since(h.begin)) }

// op is an operation on a message: that a reader is added, or, if there is none, that the readers
// are counted.
type op struct {
	message string
	reader  int // from 1 on
}

// try notes that a read is reported from now on. done is called with whether it was acknowledged.
func (h *history) try(client int, message, user string, reader int) (done func(acked bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried[message][user] = true
	call := h.now()
	return func(acked bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		x := porcupine.Operation{ClientId: client, Input: op{message, reader}, Call: call, Return: math.MaxInt64}
		if acked { // else it may take effect at any time, or never
			h.acked[message][user] = true
			x.Return = h.now()
		}
		h.ops = append(h.ops, x)
	}
}

// counted notes a strong answer to a question that was asked at a time.
func (h *history) counted(client int, message string, call int64, read int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: op{message: message}, Output: read, Call: call, Return: h.now()})
}

func (h *history) message(message, group string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.groups[message] = group
	h.tried[message], h.acked[message], h.sent = map[string]bool{}, map[string]bool{}, append(h.sent, message)
}

// any is a message, with how many of its readers were acknowledged by now.
func (h *history) any(r *rand.Rand) (message string, read int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sent) == 0 {
		return "", 0
	}
	// Recent ones are what may still be behind somewhere.
	recent := h.sent[max(0, len(h.sent)-20):]
	message = recent[r.IntN(len(recent))]
	return message, len(h.acked[message])
}

// of are the messages of a group.
func (h *history) of(group string) (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.sent {
		if h.groups[m] == group {
			list = append(list, m)
		}
	}
	return list
}

// bounds are how many readers of a message there have to be, and may be.
func (h *history) bounds(message string) (least, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.acked[message]), len(h.tried[message])
}

// readers is the model of one message: a set of readers, as bits.
var readers = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		byMessage := map[string][]porcupine.Operation{}
		for _, x := range ops {
			m := x.Input.(op).message
			byMessage[m] = append(byMessage[m], x)
		}
		var parts [][]porcupine.Operation
		for _, part := range byMessage {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return uint64(0) },
	Step: func(state, input, output any) (bool, any) {
		set := state.(uint64)
		if r := input.(op).reader; r > 0 {
			return true, set | 1<<r
		}
		return bits.OnesCount64(set) == output.(int), set
	},
	Equal: func(a, b any) bool { return a == b },
}

// linearizable checks that reads and strong questions have an order in which each message is a set
// of readers, and each took effect between its call and its answer.
func (h *history) linearizable(t testing.TB) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := 0
	for _, x := range h.ops {
		if x.Input.(op).reader == 0 {
			asked++
		}
	}
	if got := porcupine.CheckOperationsTimeout(readers, h.ops, patience); got != porcupine.Ok {
		t.Errorf("strong questions: %s", got)
	}
	t.Logf("%d operations, %d of them strong questions, are linearizable per message", len(h.ops), asked)
}

// What is not linearizable is found: a question that misses a reader who was acknowledged before,
// and one that sees a reader who goes away again.
func TestStaleAnswersAreNotLinearizable(t *testing.T) {
	add := func(reader int, call, back int64) porcupine.Operation {
		return porcupine.Operation{Input: op{"m", reader}, Call: call, Return: back}
	}
	get := func(n int, call, back int64) porcupine.Operation {
		return porcupine.Operation{ClientId: 1, Input: op{message: "m"}, Output: n, Call: call, Return: back}
	}
	for _, x := range []struct {
		name string
		ops  []porcupine.Operation
		ok   bool
	}{
		{"in order", []porcupine.Operation{add(1, 0, 1), get(1, 2, 3)}, true},
		{"missed", []porcupine.Operation{add(1, 0, 1), get(0, 2, 3)}, false},
		{"not yet", []porcupine.Operation{add(1, 0, 4), get(0, 2, 3)}, true},
		{"gone again", []porcupine.Operation{add(1, 0, math.MaxInt64), get(1, 2, 3), get(0, 4, 5)}, false},
		{"in doubt", []porcupine.Operation{add(1, 0, math.MaxInt64), get(0, 2, 3), get(1, 4, 5)}, true},
		{"twice", []porcupine.Operation{add(1, 0, 1), add(1, 2, 3), get(2, 4, 5)}, false},
	} {
		slices.Reverse(x.ops)
		if got := porcupine.CheckOperations(readers, x.ops); got != x.ok {
			t.Errorf("%s: %v", x.name, got)
		}
	}
}
