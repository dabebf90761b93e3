package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/receiptd/receiptd/events"
)

// FuzzNATSUsers: whatever the file of NATS clients holds, the start refuses it without a word of
// its passwords, or each line lets one client in, to an app that no other line names.
func FuzzNATSUsers(f *testing.F) {
	for _, text := range []string{
		"acme#chat secret-1\n\nacme#other  secret-2\n", "acme#chat", "acme secret-1", "acme#chat secret-1\nacme#chat secret-2", "acme#chat  \n", "acme#chat\tsecret-1",
		"acme#*.> secret-1", "acme#chat secret-1\r\n", "\xff#a secret-1", strings.Repeat("x", 70_000),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseIngressApps("file", text)
		if err != nil {
			if list != nil || strings.Contains(err.Error(), "secret-") {
				t.Errorf("%q: %v, %v", text, list, err)
			}
			return
		}
		lines := 0
		for line := range strings.Lines(string(text)) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
		}
		seen := map[string]bool{}
		for _, x := range list {
			if _, _, err := events.SplitAppKey(x.App); err != nil || seen[x.App] || x.Password == "" || strings.TrimSpace(x.Password) != x.Password {
				t.Errorf("%q: %+v, %v", text, x, err)
			}
			seen[x.App] = true
		}
		if len(list) != lines {
			t.Errorf("%q: %d clients of %d lines", text, len(list), lines)
		}
	})
}

// FuzzSecret: whatever a secret's file holds, it is refused, by the start as by the doctor, or is a
// secret that can be sent, and stays what it is.
func FuzzSecret(f *testing.F) {
	for _, text := range []string{"", "\n", "0123456789abcdef0123456789abcdef\n", "short", "\x00\x00\x00\x00\x00\x00\x00\x00\x00", "eight\nlines", "\xff\xff\xff\xff\xff\xff\xff\xff", "a b c d e f"} {
		f.Add([]byte(text), false)
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, token bool) {
		path := filepath.Join(t.TempDir(), "admin.key")
		if token {
			path = filepath.Join(filepath.Dir(path), tokenKeyFile)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		secret, err := secretFile(path, 32)
		if problem := secretProblem(path); (err == nil) != (problem == "") {
			t.Errorf("%q: %v, and the doctor finds %q", text, err, problem)
		}
		if kept, readErr := os.ReadFile(path); readErr != nil || string(kept) != string(text) {
			t.Errorf("%q is now %q, %v", text, kept, readErr)
		}
		if err != nil {
			return
		}
		if len(secret) < leastOf(path) || strings.ContainsFunc(secret, unicode.IsControl) || strings.TrimSpace(string(text)) != secret {
			t.Errorf("%q: the secret is %q", text, secret)
		}
	})
}
