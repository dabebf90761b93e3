package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/configuration.md")

func TestPrintedConfigurationReadsBack(t *testing.T) {
	cli, sources, err := parse(t, []string{"--cache-size=1GiB"}, "RECEIPTD_PARTITIONS=2")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := cli.Settings.WriteYAML(&out, sources); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"cache-size: 1GiB # --cache-size\n", "partitions: 2 # RECEIPTD_PARTITIONS\n", "admin-key: \"\" # default\n",
		"checkpoint-interval: 1s # default\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in:\n%s", line, out.String())
		}
	}
	again, _, err := parse(t, []string{"--config", writeFile(t, out.String())})
	if err != nil {
		t.Fatal(err)
	}
	if again.Settings != cli.Settings {
		t.Errorf("reads back as %+v", again.Settings)
	}
}

func TestNamesOfToolAndServerDiffer(t *testing.T) {
	for _, name := range ToolNames() {
		if slices.Contains(Names(), name) {
			t.Errorf("%s is a setting of the server as well", name)
		}
	}
}

// The table of docs/configuration.md comes from the struct tags: go test ./internal/config -update
// writes it.
func TestDocumentedSettings(t *testing.T) {
	const path = "../../docs/configuration.md"
	const begin, end = "<!-- begin settings -->\n", "<!-- end settings -->\n"
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(document), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no %q … %q", path, begin, end)
	}
	want := before + begin + settingsTable() + end + after
	if want == string(document) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the settings say; run go test ./internal/config -update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func settingsTable() string {
	var b strings.Builder
	group := ""
	for _, f := range settings(&Config{}) {
		if title := strings.TrimSuffix(f.Group.Title, ":"); title != group {
			group = title
			fmt.Fprintf(&b, "\n### %s\n\n| flag | default | what it does |\n| --- | --- | --- |\n", group)
		}
		fmt.Fprintf(&b, "| `--%s %s` | %s | %s |\n", f.Name, f.PlaceHolder, documentedDefault(f), f.Help)
	}
	return b.String() + "\n"
}

func documentedDefault(f *kong.Flag) string {
	if f.Default == "" {
		return "none"
	}
	return "`" + f.Default + "`"
}
