package cluster

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// busOf is one over a connection of its own to a server.
func busOf(t *testing.T, server *natstest.Server) (Bus, *nats.Conn) {
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	bus, err := NewBus(nc)
	if err != nil {
		t.Fatal(err)
	}
	return bus, nc
}

// Many questions at a time get each its own answer, in as many parts as it takes.
func TestAnswersComeInParts(t *testing.T) {
	t.Parallel()
	server := natstest.StartServer(t)
	bus, nc := busOf(t, server)
	other, _ := busOf(t, server)
	part := int(nc.MaxPayload() / 2)
	stop, err := other.Answer("a", func(question []byte) []byte { return bytes.Repeat(question, part+1) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx := testContext(t)
	// Until the server knows that somebody listens.
	for errors.Is(ask(ctx, bus, "x", 0), ErrNobody) {
		runtime.Gosched()
	}
	var group sync.WaitGroup
	for _, question := range []string{"", "a", "bb", "ccccc", "d", "eeeeeee"} {
		group.Go(func() {
			if err := ask(ctx, bus, question, part+1); err != nil {
				t.Errorf("%s: %v", question, err)
			}
		})
	}
	group.Wait()
	if n := len(bus.(natsBus).answers.takers); n != 0 {
		t.Errorf("%d answers are waited for", n)
	}
}

var errOther = errors.New("the answer to something else")

// ask asks node a, which repeats the question so many times.
func ask(ctx context.Context, bus Bus, question string, times int) error {
	answer, err := bus.Ask(ctx, "a", []byte(question))
	if err == nil && times > 0 && !bytes.Equal(answer, bytes.Repeat([]byte(question), times)) {
		return errOther
	}
	return err
}

// An answer with a hole in it is none.
func TestAPartIsMissed(t *testing.T) {
	t.Parallel()
	server := natstest.StartServer(t)
	bus, nc := busOf(t, server)
	_, err := nc.Subscribe(askSubject+"a", func(m *nats.Msg) {
		for i, header := range []nats.Header{{partHeader: {"1"}}, {partHeader: {"2"}}, {partsHeader: {"2"}}} {
			if string(m.Data) == "all" || i != 1 {
				_ = nc.PublishMsg(&nats.Msg{Subject: m.Reply, Header: header, Data: []byte("x")})
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t)
	if answer, err := bus.Ask(ctx, "a", []byte("all")); err != nil || string(answer) != "xxx" {
		t.Errorf("all parts: %q, %v", answer, err)
	}
	if answer, err := bus.Ask(ctx, "a", []byte("some")); !errors.Is(err, errPartLost) {
		t.Errorf("without the second part: %q, %v", answer, err)
	}
}

// A question takes little memory, and none once it is over, whether it was answered or not.
func TestAQuestionTakesLittleMemory(t *testing.T) {
	server := natstest.StartServer(t)
	bus, nc := busOf(t, server)
	if _, err := nc.Subscribe(askSubject+"a", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	const questions, most = 100, 64 << 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range questions {
		if err := ask(testContext(t), bus, "x", 1); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / questions; each > most {
		t.Errorf("%d bytes a question", each)
	}
	ctx, cancel := context.WithTimeout(testContext(t), time.Millisecond)
	defer cancel()
	silent, err := nc.SubscribeSync(askSubject + "silent")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Unsubscribe() }()
	if _, err := bus.Ask(ctx, "silent", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
	if n := len(bus.(natsBus).answers.takers); n != 0 {
		t.Errorf("%d answers are waited for", n)
	}
}
