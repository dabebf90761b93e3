package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd-analyze takes the unit with what makes it a node of a cluster, and receiptd takes their
// settings.
func TestSystemdUnitIsValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	check := func(dir string) error {
		unit := filepath.Join(dir, "receiptd.service")
		replace(t, dir, "receiptd.service", "/usr/local/bin/receiptd", "/bin/true")
		if err := os.MkdirAll(unit+".d", 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "receiptd-cluster.conf"), filepath.Join(unit+".d", "cluster.conf")); err != nil {
			return err
		}
		// What it does not know it ignores, with a message.
		if said, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil || len(said) > 0 {
			return errors.Join(fmt.Errorf("systemd-analyze: %s", said), err)
		}
		env := map[string]string{"RECEIPTD_CLUSTER_SECRET": "secret-of-the-cluster"}
		text, err := os.ReadFile(filepath.Join(unit+".d", "cluster.conf"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if settings, ok := strings.CutPrefix(line, "Environment="); ok {
				for setting := range strings.FieldsSeq(settings) {
					name, value, _ := strings.Cut(setting, "=")
					env[name] = value
				}
			}
		}
		if routes := env["RECEIPTD_CLUSTER_ROUTES"]; env["RECEIPTD_NODE"] == "" || !strings.Contains(routes, env["RECEIPTD_CLUSTER_LISTEN"]) {
			return fmt.Errorf("no node of its routes: %v", env)
		}
		return accepts(env)
	}
	finds(t, check,
		fault{"receiptd.service", "Restart=", "Restat="},
		fault{"receiptd.service", "TimeoutStopSec=60", "TimeoutStopSec=long"},
		fault{"receiptd-cluster.conf", "TimeoutStartSec", "TimeoutStart"},
		fault{"receiptd-cluster.conf", "RECEIPTD_CLUSTER_LISTEN", "RECEIPTD_CLUSTER_LISTENS"},
		fault{"receiptd-cluster.conf", "CLUSTER_LISTEN=10.0.0.1:6222", "CLUSTER_LISTEN=10.0.0.4:6222"})
}
