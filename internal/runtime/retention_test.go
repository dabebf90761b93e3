package runtime

import (
	"testing"
	"time"
)

// Nothing may leave the log while ClickHouse does not have it, however durable the state is.
func TestNothingLeavesTheLogWithoutTheArchive(t *testing.T) {
	cfg := testConfig(t)
	cfg.Analytics.ClickHouse = "clickhouse://127.0.0.1:1/receiptd" // nobody is there

	cfg.Analytics.RetainAge = time.Hour // the server itself asks for nothing meanwhile
	r := start(t, cfg)
	r.append(configured(1, limit(10)))
	r.append(group("g", 5)...)
	r.append(group("h", 5)...)
	r.caughtUp()
	trimmer := r.trimmer(r.analytics)
	ctx := testContext(t)
	for k := range partitions {
		if folded, err := r.Projector.Durable(k); err != nil {
			t.Fatal(err)
		} else if safe, err := trimmer.Safe(ctx, k); err != nil || safe != 0 {
			t.Errorf("partition %d: entries before %d may leave, the state is durable up to %d; %v", k, safe, folded, err)
		}
	}
}
