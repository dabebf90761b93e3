package lint

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// machinePath matches the directories of a developer's own machine.
var machinePath = regexp.MustCompile(`/(root|work|home/[\w.-]+|Users/[\w.-]+)/`)

// Lock files record where a package came from and are written by tools.
var lockFiles = []string{"go.sum", "package-lock.json"}

func TestNothingOfThisMachineIsTracked(t *testing.T) {
	none(t, checkLeaks(t, repository, tracked(t), packageHosts(t)))
}

// checkLeaks returns the lines that name a directory of a machine or one of the hosts.
func checkLeaks(t *testing.T, tree fs.FS, files, hosts []string) (findings []string) {
	for _, name := range files {
		text := read(t, tree, name)
		if slices.Contains(lockFiles, path.Base(name)) || bytes.IndexByte(text, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			if found := machinePath.FindString(line); found != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: names a directory of a machine: %s", name, i+1, found))
			}
			for _, host := range hosts {
				if strings.Contains(line, host) {
					findings = append(findings, fmt.Sprintf("%s:%d: names the host this machine takes packages from", name, i+1))
				}
			}
		}
	}
	return findings
}

// host finds the host, with its port, in a URL.
var host = regexp.MustCompile(`https?://(?:[^/@\s"']*@)?([^/\s"',|]+)`)

// packageHosts lists the hosts that this machine is set up to take packages from. Public or not, a
// committed file names none: what is installed, and from where, is the machine's business.
func packageHosts(t *testing.T) []string {
	t.Helper()
	settings, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	text := string(settings) + "\n" + os.Getenv("npm_config_registry") + "\n" + os.Getenv("NPM_CONFIG_REGISTRY")
	home, _ := os.UserHomeDir()
	for _, pattern := range []string{
		filepath.Join(home, ".npmrc"), "/etc/npmrc", "/etc/apt/sources.list", "/etc/apt/sources.list.d/*",
	} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			content, _ := os.ReadFile(file) // what is not there names no host
			text += "\n" + string(content)
		}
	}
	return hostsIn(text)
}

// hostsIn lists the hosts of the URLs in a text, without this machine.
func hostsIn(text string) []string {
	var hosts []string
	for _, match := range host.FindAllStringSubmatch(text, -1) {
		name := match[1]
		if !slices.Contains(hosts, name) && name != "localhost" && name != "127.0.0.1" {
			hosts = append(hosts, name)
		}
	}
	return hosts
}

func TestLeaksAreFound(t *testing.T) {
	// Built from pieces, so that this file is no finding itself.
	tree := plant(
		"a.md", "fine\nsee /ro"+"ot/x\n",
		"b.go", "// /ho"+"me/ann/src\n// mirror.example:8080/x\n",
		"c.bin", "\x00/wo"+"rk/",
		"go.sum", "mirror.example:8080",
		"ok.md", "/var/lib/receiptd, https://example.org/root\n")
	exactly(t, checkLeaks(t, tree, []string{"a.md", "b.go", "c.bin", "go.sum"}, []string{"mirror.example:8080"}),
		"a.md:2: names a directory", "b.go:1: names a directory", "b.go:2: names the host")
	hosts := hostsIn("https://me:pw@mirror.example:8080/go,direct\ndeb http://packages.example/debian")
	if !slices.Equal(hosts, []string{"mirror.example:8080", "packages.example"}) {
		t.Errorf("hosts %q", hosts)
	}
}
