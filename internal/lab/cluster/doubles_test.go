package cluster

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tellDoubles prints which entries the NATS servers have stored more than once. The first one
// counts, so that is no error; but where an answer is wrong it may be why.
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
	for _, name := range partitions {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			t.Error(err)
			continue
		}
		first, doubles, end := map[string]uint64{}, 0, stream.CachedInfo().State.LastSeq
		for at := stream.CachedInfo().State.FirstSeq; at <= end && ctx.Err() == nil; at++ {
			m, err := stream.GetMsg(ctx, at)
			if err != nil {
				t.Logf("%s: entry %d is not read: %v", name, at, err) // by one replica
				continue
			}
			id := m.Header.Get(jetstream.MsgIDHeader)
			if before, twice := first[id]; twice && id != "" {
				doubles++
				t.Logf("%s: entry %d is entry %d once more, %s of %s", name, at, before, id, m.Time)
			} else {
				first[id] = at
			}
		}
		t.Logf("%s: %d of %d entries are there twice", name, doubles, end)
	}
}
