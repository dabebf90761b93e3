package runtime

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
)

// A node that cannot fill ClickHouse, though it is there, leaves it to another one.
func TestWhoCannotFillClickHouseLeavesIt(t *testing.T) {
	nodes := startNodes(t, 2, func(c *config.Config) {
		c.Analytics.ClickHouse = "clickhouse://127.0.0.1:1/receipts"
		// The state of the analytics cannot be opened.
		if err := os.WriteFile(filepath.Join(c.Data, analyticsDir), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	a, b := nodes[0], nodes[1]
	eventually(t, "both have tried", func() bool {
		text, _, err := a.bucket.Get(testContext(t), sinkName)
		var claimed struct{ Term int }
		return err == nil && json.Unmarshal(text, &claimed) == nil && claimed.Term > 1
	})
	if err := os.Remove(filepath.Join(b.cfg.Data, analyticsDir)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b fills ClickHouse", func() bool { return b.filling.Load() != nil })
	if a.filling.Load() != nil {
		t.Error("so does a")
	}
	for r, fills := range map[*running]string{a: "0", b: "1"} {
		if text := r.call("GET", "/metrics", nil, nil).body; !strings.Contains(text, "\nreceiptd_analytics_filling "+fills+"\n") {
			t.Errorf("%s has no metric that says %s", r.node.Name(), fills)
		}
	}
}
