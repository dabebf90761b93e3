package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	jobSubject = "receipts.cluster.v1.job."
	// lineWait is how long the newest line of a job is waited for before the answer is that there
	// is none, and lineTimeout when the question, or its answer, counts as lost.
	lineWait    = 500 * time.Millisecond
	lineTimeout = 2 * time.Second
	// jobKeep is how long a job goes on, and what came of it is kept, after it was asked for last;
	// a node that answers nothing about it is asked again for as long.
	jobKeep = 10 * time.Second
	// maxJobs bounds the jobs that a node has under way or keeps.
	maxJobs = 16
)

// NewJobBus makes a bus for jobs: what waits there keeps no question of the other ones waiting.
func NewJobBus(nc *nats.Conn) (Bus, error) { return newBus(nc, jobSubject, maxJobs) }

// Jobs has nodes do work for each other that takes longer than a question may. The node that wants
// a job done polls for its newest line of output: so each side notices when the other one is gone,
// and the next poll makes up for a message that was lost. If the process that does the job ends,
// the next process of that node begins the job again.
type Jobs struct {
	Bus Bus
	// Node is this node's name.
	Node string
	// Do does a job for another node: it tells lines as it goes on, and returns the last one.
	Do func(ctx context.Context, call string, tell func(line any)) (last any)

	mu   sync.Mutex
	jobs map[string]*job
	work sync.WaitGroup
}

// jobQuestion asks for the line of a job that comes after those that are known.
type jobQuestion struct {
	ID    string `json:"id"`
	Call  string `json:"call"`
	After int    `json:"after"`
}

// jobAnswer has it, or the same one again.
type jobAnswer struct {
	Line    int             `json:"line"`
	Text    json.RawMessage `json:"text,omitempty"`
	Last    bool            `json:"last,omitempty"`
	Refused string          `json:"refused,omitempty"`
}

// RunOn has another node do a job, passes its lines on, of which some may be left out, and returns
// the last one.
func (j *Jobs) RunOn(ctx context.Context, node, call string, tell func(line json.RawMessage)) (last json.RawMessage, err error) {
	q, heard := jobQuestion{ID: rand.Text(), Call: call}, time.Now()
	for {
		a, err := j.ask(ctx, node, &q)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && time.Since(heard) > jobKeep:
			return nil, fmt.Errorf("cluster: %s does not answer, or has a version that cannot: %w", node, err)
		case err != nil:
			select {
			case <-time.After(lineWait):
			case <-ctx.Done():
			}
			continue
		case a.Refused != "":
			return nil, fmt.Errorf("cluster: %s: %s", node, a.Refused)
		case a.Last:
			return a.Text, nil
		case a.Line != q.After && len(a.Text) > 0: // fewer are there if its process is another one
			tell(a.Text)
		}
		q.After, heard = a.Line, time.Now()
	}
}

func (j *Jobs) ask(ctx context.Context, node string, q *jobQuestion) (a jobAnswer, err error) {
	text, err := json.Marshal(q)
	if err != nil {
		return a, fmt.Errorf("cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lineTimeout)
	defer cancel()
	if text, err = j.Bus.Ask(ctx, node, text); err != nil {
		return a, err
	}
	if json.Unmarshal(text, &a) != nil || a.Last && len(a.Text) == 0 {
		return a, errors.New("the answer is none")
	}
	return a, nil
}

// Serve does jobs for other nodes until the context ends, which ends those under way.
func (j *Jobs) Serve(ctx context.Context) error {
	stop, err := j.Bus.Answer(j.Node, func(text []byte) []byte {
		answer, err := json.Marshal(j.answer(ctx, text))
		if err != nil {
			return nil
		}
		return answer
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	stop()
	j.work.Wait()
	return nil
}

func (j *Jobs) answer(ctx context.Context, text []byte) jobAnswer {
	var q jobQuestion
	if json.Unmarshal(text, &q) != nil || q.ID == "" {
		return jobAnswer{Refused: "the question is none"}
	}
	switch x := j.find(ctx, &q); {
	case x != nil:
		return x.after(ctx, q.After)
	case ctx.Err() != nil:
		return jobAnswer{Refused: "the node is stopping"}
	}
	return jobAnswer{Refused: "the node does as much for others as it may"}
}

// find returns a job, which begins with the first question. It is nil if there are too many, or
// none is begun any more.
func (j *Jobs) find(ctx context.Context, q *jobQuestion) *job {
	j.mu.Lock()
	defer j.mu.Unlock()
	x := j.jobs[q.ID]
	if x == nil {
		if len(j.jobs) >= maxJobs || ctx.Err() != nil {
			return nil
		}
		if j.jobs == nil {
			j.jobs = map[string]*job{}
		}
		x = j.begin(ctx, q)
		j.jobs[q.ID] = x
	}
	x.asked = time.Now()
	return x
}

// begin begins a job, which ends when nobody asks for it any more. It is called with mu held.
func (j *Jobs) begin(ctx context.Context, q *jobQuestion) *job {
	ctx, cancel := context.WithCancel(ctx)
	x := &job{changed: make(chan struct{})}
	j.work.Go(func() {
		x.tell(j.Do(ctx, q.Call, func(line any) { x.tell(line, false) }), true)
	})
	j.work.Go(func() {
		defer cancel()
		_ = every(ctx, lineWait, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			if time.Since(x.asked) > jobKeep {
				delete(j.jobs, q.ID)
				cancel()
			}
		})
	})
	return x
}

// job is a job under way here, for another node.
type job struct {
	asked time.Time // last; under the mutex of the jobs

	mu      sync.Mutex
	now     jobAnswer
	changed chan struct{} // closed when there is a new line
}

func (x *job) tell(line any, last bool) {
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte("null")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = jobAnswer{Line: x.now.Line + 1, Text: text, Last: last}
	close(x.changed)
	x.changed = make(chan struct{})
}

// after is the newest line, once there is one after those that are known, or after some time.
func (x *job) after(ctx context.Context, line int) jobAnswer {
	wait := time.NewTimer(lineWait)
	defer wait.Stop()
	for {
		x.mu.Lock()
		now, changed := x.now, x.changed
		x.mu.Unlock()
		if now.Line != line {
			return now
		}
		select {
		case <-changed:
		case <-wait.C:
			return now
		case <-ctx.Done():
			return now
		}
	}
}
