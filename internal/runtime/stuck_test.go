package runtime

import (
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
)

// A log that stores nothing for longer than an election takes is not called ready.
func TestStuckLogIsSaidToBe(t *testing.T) {
	if err := stuck([]eventlog.PartitionStats{{}, {Partition: 1, InFlight: stuckAfter}}); err != nil {
		t.Errorf("while a leader is elected: %v", err)
	}
	err := stuck([]eventlog.PartitionStats{{InFlight: time.Second}, {Partition: 1, InFlight: stuckAfter + time.Second}})
	if err == nil || !strings.Contains(err.Error(), "an entry of partition 1 has waited for 16s") {
		t.Errorf("after that: %v", err)
	}
}

// NATS servers that come up later than their nodes are waited for, by nodes of both forms.
func TestNodesWaitForTheirServers(t *testing.T) {
	node, alone := testConfig(t), testConfig(t)
	node.Cluster.Node = "a"
	if startLimit(node) < 5*time.Minute || startLimit(alone) > time.Minute {
		t.Errorf("a node waits %s, a server that is alone %s", startLimit(node), startLimit(alone))
	}
	var embedded config.Config
	embedded.Cluster.Node, embedded.Cluster.Listen = "a", "127.0.0.1:0"
	if startLimit(embedded) != startLimit(node) {
		t.Errorf("a node that forms its cluster waits %s, another one %s", startLimit(embedded), startLimit(node))
	}
}
