package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kong"
)

// FuzzFile: whatever is in the file, it is refused by problems that say where, or gives settings
// that are valid.
func FuzzFile(f *testing.F) {
	f.Add([]byte("listen: 127.0.0.1:9\npartitions: 4\n"))
	f.Add([]byte("fsync: sometimes\nlisten: [1, 2]\n"))
	f.Add([]byte("a: &a [*a]\n---\nb: 1\n"))
	f.Add([]byte("min-free: 1GiB\nretain-age: 1h\nretain-age: 2h\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "receiptd.yaml")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var cli testCLI
		program := Program{Name: "receiptd", Foreign: ToolNames()}
		_, _, err := program.Parse(&cli, []string{"--config", path}, nil, kong.Exit(func(int) { t.Fatal("exit") }))
		if err == nil {
			if err := cli.Settings.Validate(); err != nil {
				t.Errorf("%q: accepted, and %v", text, err)
			}
			return
		}
		problems, named := errors.AsType[Problems](err)
		if !named || len(problems) == 0 {
			t.Errorf("%q: %v names no problem", text, err)
		}
		for _, p := range problems {
			if p.Source == "" && p.Setting == "" {
				t.Errorf("%q: %q does not say where", text, p.Reason)
			}
		}
	})
}
