package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// FuzzValues: whatever text a size or a list of shares is given as, it is refused, or kept in a
// form that means the same.
func FuzzValues(f *testing.F) {
	for _, text := range []string{"256MiB", "1 tb", "9223372036854775807", "8388608TiB", "-1", "+5kib", "acme/chat=4, acme/mail=2", "a/b=1,a/b=2", "a/b=1000=1", "=1", " / = 7 "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b, c Bytes
		if b.UnmarshalText([]byte(text)) == nil {
			written, err := b.MarshalText()
			if err == nil {
				err = c.UnmarshalText(written)
			}
			if err != nil || b < 0 || c != b {
				t.Errorf("%q is %d bytes, written as %q, read as %d, %v", text, int64(b), written, int64(c), err)
			}
		}
		var w, v Weights
		if w.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := v.UnmarshalText([]byte(w)); err != nil || v != w {
			t.Errorf("%q is kept as %q, which is %q, %v", text, w, v, err)
		}
		all, err := w.parse()
		if err != nil {
			t.Fatal(err)
		}
		of := w.Of()
		for app, n := range all {
			if got := of(strings.Replace(app, "/", "#", 1)); got != n || n < 1 || n > maxWeight {
				t.Errorf("%q: %s has %d, want %d", text, app, got, n)
			}
		}
	})
}
