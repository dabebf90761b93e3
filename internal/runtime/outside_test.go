package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
)

// A node of outside NATS servers is refused the directory of a server that was alone, and that of a
// node that was of a cluster by itself, and is told which: only the first can be backed up so.
func TestNodeOfOutsideServersOnTheLogOfAnother(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files []string
		want  error
	}{
		{"nothing", nil, nil},
		{"a server alone", []string{"jetstream"}, errStandalone},
		{"a node by itself", []string{"jetstream", "NODE"}, eventlog.ErrPeer},
	} {
		cfg := config.Config{Data: t.TempDir()}
		cfg.Cluster.Node, cfg.Log.NATS = "a", "nats://127.0.0.1:1"
		for _, name := range c.files {
			if err := os.MkdirAll(filepath.Join(cfg.Data, logDir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkOutside(&cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
