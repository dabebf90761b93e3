package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tellDoubles prints which entries the NATS servers have stored more than once. The first one counts,
// so that is no error; but where an answer is wrong it may be why.
func tellDoubles(t testing.TB, urls string, partitions ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := nats.Connect(urls)
	if err != nil {
		t.Error(err)
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Error(err)
		return
	}
	for _, stream := range partitions {
		first, doubles := map[string]uint64{}, 0
		info, err := js.Stream(ctx, stream)
		if err != nil {
			t.Error(err)
			continue
		}
		reader, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{HeadersOnly: true})
		if err != nil {
			t.Error(err)
			continue
		}
		for end := info.CachedInfo().State.LastSeq; ; {
			m, err := reader.Next(jetstream.FetchMaxWait(10 * time.Second))
			if err != nil {
				t.Errorf("read %s: %v", stream, err)
				break
			}
			meta, err := m.Metadata()
			if err != nil {
				t.Error(err)
				break
			}
			id := m.Headers().Get(jetstream.MsgIDHeader)
			if at, twice := first[id]; twice && id != "" {
				doubles++
				t.Logf("%s: entry %d is entry %d once more, %s of %s", stream, meta.Sequence.Stream, at, id, meta.Timestamp)
			} else {
				first[id] = meta.Sequence.Stream
			}
			if meta.Sequence.Stream >= end {
				t.Logf("%s: %d of %d entries are there twice", stream, doubles, end)
				break
			}
		}
	}
}
