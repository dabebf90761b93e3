package runtime

import (
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A process that would be wrong beside the nodes of a cluster is refused, and told why.
func TestStrangersAreRefused(t *testing.T) {
	nodes := startNodes(t, 2)
	for name, want := range map[string]string{
		"a": cluster.ErrNameTaken.Error() + ": a, incarnation " + nodes[0].life,
		"":  "the log is shared by the nodes a, b, and this process has no name",
	} {
		cfg := nodes[0].cfg
		cfg.Data, cfg.Cluster.Node = t.TempDir(), name
		s, err := Build(testContext(t), cfg, natstest.Logger(t), "test")
		if err == nil {
			t.Error(s.Close(testContext(t)))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("node %q: %v", name, err)
		}
	}
	cfg := nodes[0].cfg
	nodes[0].stop()
	start(t, cfg) // its own next process
}
