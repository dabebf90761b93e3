package eventlog_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/natstest"
)

// On a replicated log, one server after the other goes away under load and comes back.
func TestServersOfAClusterRestart(t *testing.T) {
	for _, way := range retryWays[:2] {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			servers := natstest.StartCluster(t, 3)
			cfg := eventlog.WithHooks(eventlog.Config{URL: natstest.ClusterURL(servers), Partitions: 2, Replicas: 3}, way.hooks)
			logs := []*eventlog.Log{natstest.OpenLog(t, cfg), natstest.OpenLog(t, cfg)}

			load, stop := context.WithCancel(ctx)
			defer stop()
			producers := make([]*producer, 2*len(logs))
			var wg sync.WaitGroup
			for id := range producers {
				producers[id] = &producer{id: id, groups: 5}
				wg.Go(func() {
					for load.Err() == nil {
						if err := producers[id].submit(ctx, logs[id%2], 10); err != nil {
							t.Error(err)
							return
						}
						time.Sleep(2 * time.Millisecond)
					}
				})
			}
			for _, s := range servers {
				time.Sleep(200 * time.Millisecond)
				s.Stop()
				time.Sleep(200 * time.Millisecond)
				s.Start()
				time.Sleep(time.Second) // the next may go when this one is back in the quorum
			}
			stop()
			wg.Wait()
			check(t, ctx, logs[0], producers)
		})
	}
}
