package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/receiptd/receiptd/schema"
)

// notByCall are the operations that the client's `call` does not take, with the method that is for
// them or, where there is none, the reason.
var notByCall = map[string]struct{ method, reason string }{
	"streamEvents":   {method: "stream"},
	"getStream":      {method: "follow"},
	"getAlertStream": {method: "followAlerts"},
	"getTail":        {reason: "has no end: receiptctl tail"},
	"postBackup":     {reason: "a tar: receiptctl backup"},
}

// operations is a program that compiles if every operation of the description can be called, or has
// a method, or is left out.
func operations(t *testing.T) []byte {
	t.Helper()
	var d struct{ Paths map[string]map[string]any }
	if err := yaml.Unmarshal(schema.OpenAPI, &d); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("import type { Client, PathOf } from \"@receiptd/client\";\n")
	found := 0
	for path, item := range d.Paths {
		for method, o := range item {
			operation, ok := o.(map[string]any)
			if !ok {
				continue // parameters of all methods
			}
			id, _ := operation["operationId"].(string)
			byHand, listed := notByCall[id]
			if listed {
				found++
				b.WriteString("// @ts-expect-error: not by call\n")
			}
			fmt.Fprintf(&b, "export const %s: PathOf<%q> = %q;\n", id, method, path)
			switch {
			case byHand.method != "":
				fmt.Fprintf(&b, "export type %s = Client[%q];\n", id, byHand.method)
			case listed && byHand.reason == "":
				t.Errorf("%s is left out for no reason", id)
			}
		}
	}
	if found != len(notByCall) {
		t.Errorf("%d of %d operations that are left out exist", found, len(notByCall))
	}
	return b.Bytes()
}

// TestClientForTypeScript makes schema/client-ts out of its sources, holds the generated one
// against the description, holds that it has every operation, runs its tests against two servers,
// and its example.
func TestClientForTypeScript(t *testing.T) {
	t.Parallel()
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
	if err := os.WriteFile(filepath.Join(dir, "example", "operations.ts"), operations(t), 0o644); err != nil {
		t.Fatal(err)
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
