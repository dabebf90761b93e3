package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// expression is a query of Prometheus in one of the files of deploy/.
type expression struct{ where, text string }

// TestDeployNamesMetricsThatExist holds the dashboard, the alerts and the runbook against what a
// server shows: every metric, every label and every value of a label that they name.
func TestDeployNamesMetricsThatExist(t *testing.T) {
	all := slices.Concat(dashboardExpressions(t), alertExpressions(t), runbookExpressions(t))
	if len(all) < 40 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	shown := shownMetrics(t)
	for _, e := range all {
		for _, problem := range shown.check(e.text) {
			t.Errorf("%s: %s in %s", e.where, problem, e.text)
		}
	}
	for _, planted := range []string{"rate(receiptd_log_evnts_total[5m])", `receiptd_http_errors_total{code="log_ful"}`, "sum by (partitoin) (receiptd_fold_lag_entries)", `receiptd_streams{code=~"log_full|none"}`} {
		if shown.check(planted) == nil {
			t.Errorf("%s passes", planted)
		}
	}
}

func dashboardExpressions(t *testing.T) (all []expression) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "grafana-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID          int    `json:"id"`
			Title, Type string `json:",omitempty"`
			Targets     []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %d %q: the id is taken, or it shows nothing", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			all = append(all, expression{"panel " + p.Title, target.Expr})
		}
	}
	return all
}

func runbookExpressions(t *testing.T) (all []expression) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("`([^`]*receiptd_[^`]*)`").FindAllSubmatch(text, -1) {
		all = append(all, expression{"runbook", string(match[1])})
	}
	return all
}

func alertExpressions(t *testing.T) (all []expression) {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "prometheus-rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	for _, group := range rules.Groups {
		for _, r := range group.Rules {
			if r.Alert == "" || !slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) || r.Annotations["summary"] == "" {
				t.Errorf("alert %q lacks a name, a severity or a summary", r.Alert)
			}
			all = append(all, expression{"alert " + r.Alert, r.Expr})
		}
	}
	return all
}

// Each alert names its entry in the runbook, which has what is asked of one; and each entry is one
// of an alert.
func TestEveryAlertIsInTheRunbook(t *testing.T) {
	check := func(rules, runbook string) (problems []string) {
		entries := map[string]string{}
		for _, part := range strings.Split(runbook, "\n### ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			text, _, _ = strings.Cut(text, "\n## ")
			entries[name] = text
		}
		named := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllStringSubmatch(rules, -1)
		for _, match := range named {
			name := match[1]
			if !strings.Contains(rules, `runbook: "docs/runbook.md#`+strings.ToLower(name)+`"`) {
				problems = append(problems, name+" names no entry")
			}
			for _, answer := range []string{"**Means**", "**Look at**", "**Over**"} {
				if !strings.Contains(entries[name], answer) {
					problems = append(problems, name+" has no "+answer)
				}
			}
			if !strings.Contains(strings.ToLower(entries[name]), "**do**") {
				problems = append(problems, name+" has nothing to do")
			}
			delete(entries, name)
		}
		for name := range entries {
			problems = append(problems, "there is no alert "+name)
		}
		if n := strings.Count(rules, "runbook: "); n != len(named) {
			problems = append(problems, "not one entry for each alert")
		}
		return problems
	}
	var texts [2]string
	for i, name := range []string{"deploy/prometheus-rules.yaml", "docs/runbook.md"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	for _, problem := range check(texts[0], texts[1]) {
		t.Error(problem)
	}
	for _, planted := range []struct{ from, to string }{
		{"- alert: ReceiptdPoison\n", "- alert: ReceiptdPoisons\n"}, {"runbook.md#receiptdpoison", "runbook.md#receiptdpoisons"},
		{"### ReceiptdPoison\n", "### ReceiptdPoisons\n"}, {"- **Over**:", "- **Ends**:"}, {"- **Do**:", "- **Act**:"},
	} {
		if check(strings.Replace(texts[0], planted.from, planted.to, 1), strings.Replace(texts[1], planted.from, planted.to, 1)) == nil {
			t.Errorf("%q instead of %q passes", planted.to, planted.from)
		}
	}
}

// metricsShown are the names of metrics, their labels and the values of these.
type metricsShown struct{ names, labels, values map[string]bool }

var (
	sampleLine = regexp.MustCompile(`^(\w+)(?:\{(.*)\})? `)
	labelPair  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	metricName = regexp.MustCompile(`\b(?:receiptd|process|go)_\w+`)
	selector   = regexp.MustCompile(`(\w+)(=~?)"([^"]*)"`)
	grouping   = regexp.MustCompile(`\b(?:by|on) \(([\w, ]+)\)`)
)

// shownMetrics are those of servers that nobody has asked for anything: a counter that begins with
// its first increase shows no increase.
func shownMetrics(t *testing.T) *metricsShown {
	t.Helper()
	// The metrics of the sink are exposed even when there is no ClickHouse, those of snapshots
	// where they are made.
	alone := startServer(t, "--clickhouse=http://127.0.0.1:1/receiptd", "--snapshot-every=1h")
	node := startServer(t, "--nats="+natstest.StartServer(t).URL(), "--node=a")
	shown := &metricsShown{map[string]bool{}, map[string]bool{"le": true, "instance": true}, map[string]bool{}}
	for _, s := range []*server{alone, node} {
		text, err := s.do("GET", "/metrics", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if match := sampleLine.FindStringSubmatch(line); match != nil {
				shown.names[match[1]] = true
				for _, pair := range labelPair.FindAllStringSubmatch(match[2], -1) {
					shown.labels[pair[1]], shown.values[pair[1]+"="+pair[2]] = true, true
				}
			}
		}
	}
	return shown
}

// check returns what an expression names that the server does not expose.
func (m *metricsShown) check(text string) (problems []string) {
	for _, name := range metricName.FindAllString(text, -1) {
		if !m.names[name] {
			problems = append(problems, "no metric "+name)
		}
	}
	for _, match := range grouping.FindAllStringSubmatch(text, -1) {
		for label := range strings.SplitSeq(match[1], ",") {
			if label = strings.TrimSpace(label); !m.labels[label] {
				problems = append(problems, "no label "+label)
			}
		}
	}
	for _, match := range selector.FindAllStringSubmatch(text, -1) {
		if match[3] == "$instance" {
			continue
		}
		for value := range strings.SplitSeq(match[3], "|") {
			if !m.values[match[1]+"="+value] {
				problems = append(problems, "no "+match[1]+"="+value)
			}
		}
	}
	return problems
}
