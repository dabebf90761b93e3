package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// natsImage is the image of the NATS server that receiptd was built and tested with.
func natsImage() string {
	return "nats:" + natsserver.VERSION + "-alpine"
}

var (
	variable = regexp.MustCompile(`\$\{(\w+):\?\}`)
	inPlace  = regexp.MustCompile(`\$\((\w+)\)`)
)

// accepts returns an error unless receiptd takes an environment as its settings.
func accepts(env map[string]string) error {
	list := environ()
	for name, value := range env {
		list = append(list, name+"="+inPlace.ReplaceAllStringFunc(value, func(s string) string { return env[s[2:len(s)-1]] }))
	}
	p, err := start("receiptd", []string{"config"}, list)
	if err != nil {
		return err
	}
	if code, err := p.wait(); err != nil || code != 0 {
		return fmt.Errorf("receiptd refuses its settings: exit %d, %w\n%s", code, err, p.err.String())
	}
	return nil
}

// acceptsNode returns an error unless receiptd takes an environment as the settings of a node whose
// log has three replicas.
func acceptsNode(env map[string]string) error {
	if env["RECEIPTD_NODE"] == "" || env["RECEIPTD_REPLICAS"] != "3" {
		return fmt.Errorf("no node of a cluster with three replicas: %v", env)
	}
	return accepts(env)
}

func TestComposeFileIsValid(t *testing.T) {
	finds(t, checkCompose,
		fault{"compose/compose.yaml", "stop_signal:", "stop_sigal:"},
		fault{"compose/compose.yaml", "nats-0: { condition", "nats-9: { condition"},
		fault{"compose/compose.yaml", "RECEIPTD_METRICS:", "RECEIPTD_METRIC:"},
		fault{"compose/compose.yaml", "source: ../nats-server.conf", "source: ../nats-serve.conf"},
		fault{"compose/compose.yaml", "image: nats:", "image: nats:1"},
		fault{"compose/compose.yaml", "RECEIPTD_NODE: receiptd-1", "RECEIPTD_NODE: receiptd-0"},
		fault{"compose/compose.yaml", `"receiptd-1:/var/lib/receiptd"`, `"receiptd-0:/var/lib/receiptd"`},
		fault{"compose/prometheus.yaml", `"receiptd-2:8080"`, `"receiptd-3:8080"`})
}

// checkCompose holds the compose file against the Compose Specification, and what it says of
// receiptd against receiptd. The program of compose-go knows no environment (its version 2.16.2
// drops it), so variables get values beforehand.
func checkCompose(dir string) error {
	path := filepath.Join(dir, "compose", "compose.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	given := filepath.Join(dir, "compose", "given.yaml")
	if err := os.WriteFile(given, variable.ReplaceAll(text, []byte("value-of-$1")), 0o600); err != nil {
		return err
	}
	out, err := composeSpec.run(nil, "-format=json", "-no-path-resolution", given)
	if err != nil {
		return err
	}
	var project struct {
		Services map[string]struct {
			Image       string
			Environment map[string]string
			Volumes     []struct{ Type, Source, Target string }
			DependsOn   map[string]any `json:"depends_on"`
		}
	}
	if err := json.Unmarshal(out, &project); err != nil {
		return err
	}
	nodes, data, names := 0, map[string]bool{}, map[string]bool{}
	for name, s := range project.Services {
		for other := range s.DependsOn {
			if _, ok := project.Services[other]; !ok {
				return fmt.Errorf("%s waits for %s, which is no service", name, other)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(filepath.Join(dir, "compose", v.Source)); v.Type == "bind" && err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if v.Type == "volume" && data[v.Source] {
				return fmt.Errorf("%s: the volume %s is another service's, too", name, v.Source)
			}
			data[v.Source] = v.Type == "volume"
		}
		switch {
		case strings.HasPrefix(s.Image, "nats:") && s.Image != natsImage():
			return fmt.Errorf("%s: image %s, not %s", name, s.Image, natsImage())
		case s.Image == "receiptd":
			node := s.Environment["RECEIPTD_NODE"]
			if names[node] {
				return fmt.Errorf("two nodes are named %s", node)
			}
			names[node] = true
			nodes++
			if err := acceptsNode(s.Environment); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if nodes != 3 {
		return fmt.Errorf("%d nodes", nodes)
	}
	return checkTargets(filepath.Join(dir, "compose", "prometheus.yaml"), func(host string) bool { return project.Services[host].Image == "receiptd" })
}

// checkTargets returns an error unless each target of a Prometheus is one that exists, and they
// are three.
func checkTargets(path string, exists func(host string) bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var prometheus struct {
		Scrape []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &prometheus); err != nil {
		return err
	}
	n := 0
	for _, scrape := range prometheus.Scrape {
		for _, static := range scrape.Static {
			for _, target := range static.Targets {
				if host, _, err := net.SplitHostPort(target); err != nil || !exists(host) {
					return fmt.Errorf("%s: there is no %s", path, target)
				}
				n++
			}
		}
	}
	if n != 3 {
		return fmt.Errorf("%s: %d targets", path, n)
	}
	return nil
}

func TestKubernetesManifestsAreValid(t *testing.T) {
	t.Parallel()
	const node = "kubernetes/receiptd.yaml"
	finds(t, checkKubernetes,
		fault{node, "podManagementPolicy:", "podManagmentPolicy:"},
		fault{node, `periodSeconds: 2`, `periodSeconds: "2"`},
		fault{node, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"},
		fault{node, "matchLabels: { app.kubernetes.io/name: receiptd }", "matchLabels: { app.kubernetes.io/name: receipt }"},
		fault{node, "path: /readyz", "path: /healthz"},
		fault{node, "RECEIPTD_PARTITIONS,", "RECEIPTD_PARTITION,"},
		fault{node, "enableServiceLinks: false", "enableServiceLinks: true"},
		fault{"kubernetes/nats.yaml", "image: nats:", "image: nats:1"})
}

// checkKubernetes holds the manifests against the schemas of Kubernetes and the rules of
// kube-score, and what they say of receiptd against receiptd.
func checkKubernetes(dir string) error {
	files, err := fs.Glob(os.DirFS(dir), "kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no manifests: %w", err)
	}
	for i, name := range files {
		files[i] = filepath.Join(dir, name)
	}
	if _, err := kubectlValidate.run(nil, append([]string{"--version=1.30"}, files...)...); err != nil {
		return err
	}
	if _, err := kubeScore.run(nil, append([]string{"score", "--exit-one-on-warning"}, files...)...); err != nil {
		return err
	}
	for _, name := range files {
		if err := checkManifest(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkManifest(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	type container struct {
		Image string
		Env   []struct{ Name, Value string }
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var object struct {
			Kind string
			Spec struct {
				Template struct {
					Spec struct {
						EnableServiceLinks *bool `yaml:"enableServiceLinks"`
						Containers         []container
					}
				}
			}
		}
		if err := decoder.Decode(&object); err != nil {
			break // the end: the schemas were looked at before
		}
		pod := object.Spec.Template.Spec
		for _, c := range pod.Containers {
			switch {
			case strings.HasPrefix(c.Image, "nats:") && c.Image != natsImage():
				return fmt.Errorf("image %s, not %s", c.Image, natsImage())
			case strings.HasPrefix(c.Image, "receiptd:"):
				if pod.EnableServiceLinks == nil || *pod.EnableServiceLinks {
					return fmt.Errorf("variables of the Service receiptd would stop the start")
				}
				env := map[string]string{}
				for _, e := range c.Env {
					if env[e.Name] = e.Value; e.Value == "" {
						env[e.Name] = "value-of-" + strings.ToLower(strings.ReplaceAll(e.Name, "_", "-"))
					}
				}
				if err := acceptsNode(env); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// The image is built with the version of Go that go.mod asks for, and its settings are ones that
// receiptd has.
func TestImageFitsTheProgram(t *testing.T) {
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	check := func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte("FROM golang:"+string(version[1])+" ")) {
			return fmt.Errorf("the image is not built with Go %s", version[1])
		}
		env := map[string]string{"RECEIPTD_NODE": "a", "RECEIPTD_REPLICAS": "3", "RECEIPTD_NATS": "nats://127.0.0.1"}
		found := regexp.MustCompile(`(RECEIPTD_\w+)=(\S+)`).FindAllSubmatch(text, -1)
		for _, match := range found {
			env[string(match[1])] = string(match[2])
		}
		if !slices.Contains(slices.Collect(maps.Values(env)), "/var/lib/receiptd") {
			return fmt.Errorf("the data is not in the volume")
		}
		return acceptsNode(env)
	}
	finds(t, check,
		fault{"Dockerfile", "RECEIPTD_LISTEN", "RECEIPTD_LISTENS"},
		fault{"Dockerfile", "golang:1", "golang:0"})
}
