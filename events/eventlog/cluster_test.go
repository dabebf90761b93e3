package eventlog_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// On a replicated log, one server after the other goes away under load and comes back. One
// publisher relies on the server to recognise retries, the other one on what it finds.
func TestServersOfAClusterRestart(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	servers := natstest.StartCluster(t, 3)
	cfg := eventlog.Config{URL: natstest.ClusterURL(servers), Partitions: 2, Replicas: 3}
	var logs []*eventlog.Log
	for _, way := range retryWays[:2] {
		logs = append(logs, natstest.OpenLog(t, eventlog.WithHooks(cfg, way.hooks)))
	}

	load, stop := context.WithCancel(ctx)
	defer stop()
	producers := make([]*producer, 2*len(logs))
	var wg sync.WaitGroup
	for id := range producers {
		producers[id] = &producer{id: id, groups: 5}
		wg.Go(func() {
			for load.Err() == nil {
				if err := producers[id].submit(ctx, logs[id%len(logs)], 10); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for _, s := range servers {
		time.Sleep(100 * time.Millisecond) // all servers are there for a while
		s.Stop()
		time.Sleep(100 * time.Millisecond) // events are published without it for a while
		s.Start()
		natstest.AwaitCluster(t, servers) // before the next one goes
	}
	stop()
	wg.Wait()
	check(t, ctx, logs[0], producers)
}
