package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Bus is how the nodes reach each other. What it carries may be late, or not arrive at all.
type Bus interface {
	// Tell sends a text to all nodes that listen.
	Tell(node string, text []byte) error
	// Listen calls f with what nodes tell, one text after the other, until stop is called.
	Listen(f func(text []byte)) (stop func(), err error)
	// Ask sends a question to a node and waits for its answer. The error is [ErrNobody] where no
	// such node listens, and that of the context.
	Ask(ctx context.Context, node string, question []byte) (answer []byte, err error)
	// Answer calls f with each question that this node is asked, many at a time, until stop is
	// called, which waits for those under way.
	Answer(node string, f func(question []byte) (answer []byte)) (stop func(), err error)
}

// ErrNobody: no node of that name listens.
var ErrNobody = errors.New("cluster: no such node listens")

const (
	askSubject  = "receipts.cluster.v1.ask."
	feedSubject = "receipts.cluster.v1.feed."
	userSubject = "receipts.cluster.v1.user."
	// partHeader is set on all messages of an answer but the last one, whose partsHeader says how
	// many these are.
	partHeader  = "Receiptd-Part"
	partsHeader = "Receiptd-Parts"
	// maxAnswering bounds the questions that a node answers at a time. What is beyond waits; its
	// sender asks another node before long.
	maxAnswering = 256
	// maxFeeding is the same for those of feeds, each of which waits until there is something to
	// tell.
	maxFeeding = 4096
)

// natsBus is a bus over core NATS, on subjects of the account that the log is in. Questions go to a
// subject with the node's name at its end, and so many are answered at a time.
type natsBus struct {
	nc        *nats.Conn
	questions string
	answering int
	answers   *inbox
}

// NewBus makes a bus of a connection to the log's account, which lasts as long as that.
func NewBus(nc *nats.Conn) (Bus, error) { return newBus(nc, askSubject, maxAnswering) }

// NewUserBus makes one for questions about connections of users: each is answered at once, however
// long those of the other one take.
func NewUserBus(nc *nats.Conn) (Bus, error) { return newBus(nc, userSubject, maxAnswering) }

// NewFeedBus makes one for feeds: what waits there keeps no question of the other one waiting.
func NewFeedBus(nc *nats.Conn) (Bus, error) { return newBus(nc, feedSubject, maxFeeding) }

func newBus(nc *nats.Conn, questions string, answering int) (Bus, error) {
	answers, err := newInbox(nc)
	if err != nil {
		return nil, fmt.Errorf("cluster: listen to answers: %w", err)
	}
	return natsBus{nc, questions, answering, answers}, nil
}

func (b natsBus) Tell(node string, text []byte) error { return b.nc.Publish(beatSubject+node, text) }

func (b natsBus) Listen(f func([]byte)) (stop func(), err error) {
	sub, err := b.nc.Subscribe(beatSubject+"*", func(m *nats.Msg) { f(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("cluster: listen to the other nodes: %w", err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// Ask collects the messages of the answer, which is too large for one now and then.
func (b natsBus) Ask(ctx context.Context, node string, question []byte) ([]byte, error) {
	reply, messages := b.answers.open()
	defer b.answers.close(reply)
	if err := b.nc.PublishRequest(b.questions+node, reply, question); err != nil {
		return nil, fmt.Errorf("cluster: ask %s: %w", node, err)
	}
	answer, err := collect(ctx, messages)
	if err != nil {
		return nil, fmt.Errorf("cluster: ask %s: %w", node, err)
	}
	return answer, nil
}

// errPartLost: an answer of several messages came without one of them.
var errPartLost = errors.New("a part of the answer was lost on its way")

// collect puts the messages of an answer together.
func collect(ctx context.Context, messages <-chan *nats.Msg) (answer []byte, err error) {
	for parts := 0; ; parts++ {
		var m *nats.Msg
		select {
		case m = <-messages:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		last := m.Header.Get(partHeader) == ""
		switch {
		case m.Header.Get("Status") == "503" && len(m.Data) == 0:
			return nil, ErrNobody
		case last && parts == 0 && m.Header.Get(partsHeader) == "":
			return m.Data, nil
		}
		answer = append(answer, m.Data...)
		if last {
			return answer, complete(m.Header.Get(partsHeader), parts)
		}
	}
}

// complete compares how many parts came with what the last message says, which one of an earlier
// version does not.
func complete(said string, came int) error {
	if said != "" && said != strconv.Itoa(came) {
		return errPartLost
	}
	return nil
}

func (b natsBus) Answer(node string, f func([]byte) []byte) (stop func(), err error) {
	slots := make(chan struct{}, b.answering)
	sub, err := b.nc.Subscribe(b.questions+node, func(m *nats.Msg) {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			b.send(m.Reply, f(m.Data))
		}()
	})
	if err != nil {
		return nil, fmt.Errorf("cluster: listen to questions: %w", err)
	}
	return func() {
		_ = sub.Drain()
		for sub.IsValid() { // until what has come was begun
			time.Sleep(time.Millisecond)
		}
		for range b.answering {
			slots <- struct{}{}
		}
	}, nil
}

// send sends an answer in parts that the server takes. If one is lost, its reader asks elsewhere.
func (b natsBus) send(to string, answer []byte) {
	part := int(b.nc.MaxPayload() / 2)
	if len(answer) <= part {
		_ = b.nc.Publish(to, answer)
		return
	}
	parts := 0
	for ; len(answer) > part; answer = answer[part:] {
		parts++
		m := &nats.Msg{Subject: to, Header: nats.Header{partHeader: {strconv.Itoa(parts)}}, Data: answer[:part]}
		if b.nc.PublishMsg(m) != nil {
			return
		}
	}
	_ = b.nc.PublishMsg(&nats.Msg{Subject: to, Header: nats.Header{partsHeader: {strconv.Itoa(parts)}}, Data: answer})
}
