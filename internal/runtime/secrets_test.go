package runtime

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/output"
)

// A node that is given another admin key than the one that started before says so; the key is not
// in what it says, nor in the bucket.
func TestOtherAdminKeysAreTold(t *testing.T) {
	const first, second = "the-first-admin-key-of-all", "another-admin-key-than-that"
	a := startNodes(t, 1, func(c *config.Config) { c.HTTP.AdminKey = first })[0]
	for _, x := range []struct {
		key  config.Secret
		told bool
	}{{first, false}, {second, true}, {second, false}, {first, true}} {
		cfg := testConfig(t)
		cfg.Log.NATS, cfg.Log.Replicas, cfg.Cluster.Node, cfg.HTTP.AdminKey = a.cfg.Log.NATS, 3, "b", x.key
		var said output.Buffer
		b, err := Build(testContext(t), cfg, slog.New(slog.NewTextHandler(&said, nil)), "test")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(testContext(t)); err != nil {
			t.Error(err)
		}
		if told := strings.Contains(said.String(), "admin key of this node is not that"); told != x.told || strings.Contains(said.String(), x.key.Reveal()) {
			t.Errorf("with %s: %s", x.key.Reveal(), said.String())
		}
		if check, _, err := a.bucket.Get(testContext(t), adminKeyCheck); err != nil || len(check) != 4 {
			t.Errorf("the bucket has %q, %v", check, err)
		}
	}
}
