package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/chtest"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// A validator is a program that says whether files are what they are for. It comes with its own
// go.mod, or with receiptd's.
type validator struct{ modfile, tags, name string }

var (
	composeSpec     = validator{modfile: "go.mod", name: "github.com/compose-spec/compose-go/v2/cmd"}
	kubeScore       = validator{modfile: "go.mod", name: "github.com/zegl/kube-score/cmd/kube-score"}
	kubectlValidate = validator{modfile: "kubernetes.mod", name: "sigs.k8s.io/kubectl-validate"}
	natsServer      = validator{name: "github.com/nats-io/nats-server/v2"}
	// Without what finds targets in clouds, which takes minutes to compile.
	promtool = validator{modfile: "prometheus.mod", tags: "remove_all_sd", name: "github.com/prometheus/prometheus/cmd/promtool"}
)

// validators are those that were built, each once: the go command would look for all packages of a
// validator whenever it is run.
var validators sync.Map

// program builds the validator and returns its path.
func (v validator) program() (string, error) {
	build, _ := validators.LoadOrStore(v, sync.OnceValues(func() (string, error) {
		path := filepath.Join(programs, strings.ReplaceAll(v.name, "/", "_"))
		command := []string{"build", "-o", path}
		if v.modfile != "" {
			command = append(command, "-modfile=internal/lab/tools/"+v.modfile)
		}
		if v.tags != "" {
			command = append(command, "-tags="+v.tags)
		}
		cmd := exec.Command("go", append(command, v.name)...)
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("build %s: %w\n%s", v.name, err, out)
		}
		return path, err
	}))
	return build.(func() (string, error))()
}

// run runs the validator at the top of the repository and returns what it printed to standard
// output, or an error with all that it printed.
func (v validator) run(env []string, args ...string) ([]byte, error) {
	program, err := v.program()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = root, environ(env...)
	var out, all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &all
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", v.name, strings.Join(args, " "), err, out.Bytes(), all.Bytes())
	}
	return out.Bytes(), nil
}

// deployed is a copy of deploy/, in which a test may change a file.
func deployed(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "deploy")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "deploy"))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// replace changes the one place of a file in which a text stands, or the first of several.
func replace(t *testing.T, dir, name, from, to string) {
	t.Helper()
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), from) {
		t.Fatalf("%s has no %q: %v", name, from, err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A fault is a change of a file of deploy/ that the checks have to find.
type fault struct{ file, from, to string }

// finds demands that the check passes deploy/ as it is, and none of its copies with a fault.
func finds(t *testing.T, check func(dir string) error, faults ...fault) {
	t.Helper()
	if err := check(deployed(t)); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		dir := deployed(t)
		replace(t, dir, f.file, f.from, f.to)
		if err := check(dir); err == nil {
			t.Errorf("%s with %q instead of %q passes", f.file, f.to, f.from)
		}
	}
}

// natsEnvironment is what the configuration of the NATS servers takes from the environment.
func natsEnvironment(name string, routes ...string) map[string]string {
	return map[string]string{
		"NATS_NAME": name, "NATS_ROUTES": `[ "` + strings.Join(routes, `", "`) + `" ]`,
		"RECEIPTD_NATS_PASSWORD": "secret-of-receiptd", "PRODUCER_NATS_PASSWORD": "secret-of-producer",
	}
}

func TestNATSConfigurationIsValid(t *testing.T) {
	env := []string{}
	for name, value := range natsEnvironment("nats-0", "nats://nats-0:6222", "nats://nats-1:6222") {
		env = append(env, name+"="+value)
	}
	check := func(dir string) error {
		_, err := natsServer.run(env, "-t", "-c", filepath.Join(dir, "nats-server.conf"))
		return err
	}
	finds(t, check,
		fault{"nats-server.conf", "$NATS_NAME", "$NATS_NAM"},
		fault{"nats-server.conf", `lame_duck_duration: "30s"`, `lame_duck_duration: "20s"`},
		fault{"nats-cluster.conf", "sync_interval: always", "sync_interval: never"},
		fault{"nats-cluster.conf", "accounts: [ PRODUCERS ]", "accounts: [ PRODUCER ]"})
}

// Three servers with the files of deploy/ form a cluster, and nodes on it share a log that survives
// the death of a server.
func TestDeployedNATSServersFormACluster(t *testing.T) {
	var routes []string
	var ports []int
	for _, addr := range natstest.FreeAddresses(t, 3) {
		at, err := netip.ParseAddrPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		routes, ports = append(routes, "nats://"+addr), append(ports, int(at.Port()))
	}
	var servers []*natstest.Server
	var urls []string
	for i := range routes {
		for name, value := range natsEnvironment(fmt.Sprintf("nats-%d", i), routes...) {
			t.Setenv(name, value)
		}
		deployed, err := natsserver.ProcessConfigFile(filepath.Join(root, "deploy", "nats-server.conf"))
		if err != nil {
			t.Fatal(err)
		}
		if !deployed.SyncAlways {
			t.Fatal("what a NATS server acknowledges is not on its disk")
		}
		s := natstest.StartServer(t, func(o *natsserver.Options) {
			store, port := o.StoreDir, o.Port
			*o = *deployed
			o.Host, o.Port, o.HTTPPort, o.StoreDir = "127.0.0.1", port, 0, store
			o.Cluster.Host, o.Cluster.Port = "127.0.0.1", ports[i]
			o.NoSigs, o.NoLog, o.JetStreamMaxStore = true, true, 1<<40
		})
		at := url.URL{Scheme: "nats", User: url.UserPassword("receiptd", "secret-of-receiptd"), Host: s.Addr()}
		servers, urls = append(servers, s), append(urls, at.String())
	}
	const app = "acme#chat"
	nodes := map[string]*server{}
	for _, name := range []string{"receiptd-0", "receiptd-1"} {
		nodes[name] = startServer(t, "--nats="+strings.Join(urls, ","), "--replicas=3", "--partitions=2", "--node="+name)
	}
	first, second := nodes["receiptd-0"], nodes["receiptd-1"]
	first.must("PUT", appPath(app), map[string]any{"group_receipts": map[string]any{"enabled": true}}, nil)
	first.apply(app, events.Event{App: app, Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}},
		events.Event{App: app, Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true})
	servers[2].Stop()
	eventually(t, "a partition has another leader", func() bool {
		return second.call("POST", appPath(app)+"/events?wait=applied", map[string]any{"type": "message.read", "message": "m", "user": "ben", "group": "g"}, nil) == nil
	})
	eventually(t, "the other node has folded it", func() bool { return first.counts(app, []string{"m"})["m"].Read == 1 })
}

func TestPrometheusFilesAreValid(t *testing.T) {
	check := func(dir string) error {
		// Beside each other, as they are mounted.
		text, err := os.ReadFile(filepath.Join(dir, "prometheus-rules.yaml"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "compose", "prometheus-rules.yaml"), text, 0o600); err != nil {
			return err
		}
		_, err = promtool.run(nil, "check", "config", "--lint-fatal", filepath.Join(dir, "compose", "prometheus.yaml"))
		return err
	}
	finds(t, check,
		fault{"prometheus-rules.yaml", "receiptd_log_append_age_seconds > 5", "receiptd_log_append_age_seconds >> 5"},
		fault{"prometheus-rules.yaml", "{{ $labels.partition }}", "{{ $label.partition }}"},
		fault{"compose/prometheus.yaml", "scrape_interval: 15s", "scrape_intervall: 15s"},
		fault{"compose/prometheus.yaml", "- prometheus-rules.yaml", "- prometheus-rule.yaml"})
}

// Alerts fire on the series that they are for, and on no others.
func TestAlertsFire(t *testing.T) {
	check := func(dir string) error {
		text, err := os.ReadFile("testdata/alerts.yaml")
		if err != nil {
			return err
		}
		path := filepath.Join(dir, "alerts.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		_, err = promtool.run(nil, "test", "rules", path)
		return err
	}
	finds(t, check,
		fault{"prometheus-rules.yaml", "max(receiptd_analytics_filling)", "receiptd_analytics_filling"},
		fault{"prometheus-rules.yaml", "receiptd_log_append_age_seconds > 5", "receiptd_log_append_age_seconds > 500"},
		fault{"prometheus-rules.yaml", " or receiptd_cluster_copy_refused > 0", ""},
		fault{"prometheus-rules.yaml", `receiptd_cluster_nodes{state="silent"}) > 0`, `receiptd_cluster_nodes) > 0`},
		fault{"prometheus-rules.yaml", "(receiptd_cluster_copies) < max", "(receiptd_cluster_copies) > max"})
}

// What Grafana is told to read is where the compose file puts it, and the data source is the
// Prometheus of that file.
func TestGrafanaIsProvisioned(t *testing.T) {
	check := func(dir string) error {
		compose, err := os.ReadFile(filepath.Join(dir, "compose", "compose.yaml"))
		if err != nil {
			return err
		}
		var sources struct {
			APIVersion  int `yaml:"apiVersion"`
			Datasources []struct {
				Name, Type, Access, URL string
				IsDefault               bool `yaml:"isDefault"`
			}
		}
		var boards struct {
			APIVersion int `yaml:"apiVersion"`
			Providers  []struct {
				Name, Type     string
				AllowUIUpdates bool `yaml:"allowUiUpdates"`
				Options        struct{ Path string }
			}
		}
		for name, into := range map[string]any{"datasources.yaml": &sources, "dashboards.yaml": &boards} {
			text, err := os.ReadFile(filepath.Join(dir, "compose", "grafana", name))
			if err != nil {
				return err
			}
			decoder := yaml.NewDecoder(bytes.NewReader(text))
			decoder.KnownFields(true)
			if err := decoder.Decode(into); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if len(boards.Providers) != 1 || !bytes.Contains(compose, []byte("target: "+boards.Providers[0].Options.Path+"/receiptd.json")) {
			return fmt.Errorf("the dashboard is not where Grafana looks for it")
		}
		if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:9090" || !sources.Datasources[0].IsDefault {
			return fmt.Errorf("no default data source: %v", sources)
		}
		return nil
	}
	finds(t, check,
		fault{"compose/grafana/dashboards.yaml", "path: /etc/grafana/dashboards", "path: /etc/grafana/boards"},
		fault{"compose/grafana/datasources.yaml", "isDefault", "default"})
}

// ClickHouse knows the settings that make an insert durable, and takes the values.
func TestClickHouseConfigurationIsValid(t *testing.T) {
	database := chtest.Start(t)
	query, err := url.Parse(database.DSN(""))
	if err != nil {
		t.Fatal(err)
	}
	check := func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "compose", "clickhouse.yaml"))
		if err != nil {
			return err
		}
		var file struct {
			MergeTree map[string]string `yaml:"merge_tree"`
		}
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		if err := decoder.Decode(&file); err != nil {
			return err
		}
		var settings []string
		for name, value := range file.MergeTree {
			settings = append(settings, name+"="+value)
		}
		res, err := http.Post(query.String(), "text/plain", strings.NewReader("CREATE OR REPLACE TABLE t (n Int8) ENGINE = MergeTree ORDER BY n SETTINGS "+strings.Join(settings, ", ")))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %w", res.Status, answer, err)
		}
		return nil
	}
	finds(t, check, fault{"compose/clickhouse.yaml", "fsync_after_insert", "sync_after_insert"}, fault{"compose/clickhouse.yaml", "merge_tree", "mergetree"})
}
