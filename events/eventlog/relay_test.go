package eventlog_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// However much one app has published, another one's event is passed on after a few of that.
func TestPublicationsOfAppsTakeTurns(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	l, acme, rival, _ := twoProducers(t)
	const flood = 5_000
	inbox := nats.NewInbox()
	answers, err := rival.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	for n := range flood {
		if err := rival.PublishRequest("receipts.in.rival.chat.g~g.message-read", inbox, fmt.Appendf(nil, "{%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := rival.Flush(); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(acme)
	if err != nil {
		t.Fatal(err)
	}
	// A group of acme in the same partition as that of rival.
	var behind uint64
	for n := 0; ; n++ {
		before := map[string]uint64{}
		for p := range l.Partitions() {
			_, last, err := l.Bounds(ctx, p)
			if err != nil {
				t.Fatal(err)
			}
			before[fmt.Sprint("RECEIPTS_", p)] = last
		}
		ack, err := js.Publish(ctx, fmt.Sprint("receipts.in.acme.chat.g~g", n, ".message-read"), []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if behind = ack.Sequence - before[ack.Stream]; before[ack.Stream] > 100 {
			if ack.Sequence > flood {
				t.Fatal("the flood is over: this tests nothing")
			}
			break // that of rival, where some thousands wait
		}
	}
	if behind > flood/10 {
		t.Errorf("stored after %d of another app's", behind)
	}
	for range flood { // nothing is lost by that
		if m, err := answers.NextMsg(time.Minute); err != nil || len(m.Data) == 0 {
			t.Fatalf("%+v, %v", m, err)
		}
	}
}
