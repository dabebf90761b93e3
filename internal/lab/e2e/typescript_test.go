package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestClientForTypeScript makes schema/client-ts out of its sources, holds the generated one
// against the description, runs its tests against two servers, and its example.
func TestClientForTypeScript(t *testing.T) {
	source := filepath.Join(root, "schema", "client-ts")
	dir := copyOf(t, source)
	s, other := startServer(t), startServer(t)
	do := func(name string, args ...string) string {
		t.Helper()
		if name != "node" {
			name = filepath.Join(dir, "node_modules", ".bin", name)
		}
		c := exec.CommandContext(t.Context(), name, args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "API="+s.base, "KEY="+s.key, "OTHER_API="+other.base, "OTHER_KEY="+other.key)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	const generated = "src/api.gen.ts"
	have, err := os.ReadFile(filepath.Join(dir, generated))
	if err != nil {
		t.Fatal(err)
	}
	description, err := filepath.Abs(filepath.Join(root, "schema", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	do("openapi-typescript", description, "-o", generated)
	want, err := os.ReadFile(filepath.Join(dir, generated))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Error("schema/openapi.yaml has changed: npm run generate, in schema/client-ts")
	}
	do("tsc", "-p", ".")
	do("tsc", "-p", "example")
	do("node", "--test", "test/")
	const said = `group.created applied
message.sent applied
message.read applied
read by 1 of 2
cleo: applied
m1 was read by 2, last by cleo
forbidden
`
	if out := do("node", "dist/example/first.js"); out != said {
		t.Errorf("the example says\n%s", out)
	}
}
