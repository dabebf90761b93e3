package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
)

func TestCommandsThatStartNothing(t *testing.T) {
	for name, test := range map[string]struct {
		args, environ []string
		code          int
		out, err      string
	}{
		"config": {[]string{"config", "--admin-key=swordfish"}, []string{"RECEIPTD_LISTEN=127.0.0.1:1"}, exitOK,
			"listen: 127.0.0.1:1 # RECEIPTD_LISTEN", ""},
		"config masks":          {[]string{"config"}, []string{"RECEIPTD_ADMIN_KEY=swordfish"}, exitOK, "admin-key: '***' # RECEIPTD_ADMIN_KEY", ""},
		"settings of the tool":  {[]string{"config"}, []string{"RECEIPTD_SERVER=http://x"}, exitOK, "data: ./data", ""},
		"version":               {[]string{"version"}, nil, exitOK, "receiptd ", ""},
		"version needs nothing": {[]string{"version"}, []string{"RECEIPTD_WRONG=1", "RECEIPTD_MAX_BODY=x"}, exitOK, "receiptd ", ""},
		"unknown variable":      {nil, []string{"RECEIPTD_LISTENN=1"}, exitUsage, "", "the nearest is RECEIPTD_LISTEN"},
		"bad value":             {[]string{"serve", "--fsync=never"}, nil, exitUsage, "", `--fsync: "never" is not one of`},
		"unknown command":       {[]string{"start"}, nil, exitUsage, "", "Run receiptd --help"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), test.args, test.environ, &stdout, &stderr)
			if code != test.code || !strings.Contains(stdout.String(), test.out) || !strings.Contains(stderr.String(), test.err) {
				t.Errorf("exit %d\n%s%s", code, &stdout, &stderr)
			}
			if strings.Contains(stdout.String()+stderr.String(), "swordfish") {
				t.Error("printed a secret")
			}
		})
	}
}

// serving is a server that was started by its command line.
type serving struct {
	url  string
	stop func() int
}

var page = regexp.MustCompile(`page +(http://\S+)/`)

func startServer(t *testing.T, data string) serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--data", data, "--listen=127.0.0.1:0"}, nil, in, &stderr)
		in.Close()
	}()
	s := serving{stop: func() int {
		cancel()
		c := <-code
		if c != exitOK {
			t.Logf("stderr: %s", &stderr)
		}
		return c
	}}
	text := make([]byte, 4096)
	n, _ := out.Read(text)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if found := page.FindSubmatch(text[:n]); found != nil {
		s.url = string(found[1])
		return s
	}
	t.Fatalf("printed %q, exit %d", text[:n], s.stop())
	return s
}

func TestServerStartsAndDrains(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := startServer(t, data)
	waitReady(t, s.url)

	var stderr bytes.Buffer
	if code := run(t.Context(), []string{"--data", data, "--listen=127.0.0.1:0"}, nil, io.Discard, &stderr); code != exitFailed || stderr.Len() == 0 {
		t.Errorf("a second server on the same data: exit %d, %s", code, &stderr)
	}
	if info, err := os.Stat(filepath.Join(data, config.AdminKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("admin key: %v, %v", info, err)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit %d", code)
	}
	// Nobody else reads anything of it, even if the directory is opened to others.
	err := filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if info, e := os.Stat(path); err == nil && e == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	again := startServer(t, data)
	if code := again.stop(); code != exitOK {
		t.Errorf("exit %d after a start on existing data", code)
	}
}

// A node that still waits for its NATS servers is told to stop, and that is no failure.
func TestStopBeforeTheLogIsThere(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var stderr bytes.Buffer
	args := []string{"--data", t.TempDir(), "--node", "a", "--nats", "nats://127.0.0.1:1"}
	if code := run(ctx, args, nil, io.Discard, &stderr); code != exitOK || !strings.Contains(stderr.String(), "told to stop") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

func waitReady(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if answer, err := http.Get(url + "/readyz"); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		// The server is another goroutine's business: there is nothing to wait on.
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("not ready")
}

func TestReachableAddress(t *testing.T) {
	for addr, want := range map[string]string{"0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80", "10.0.0.1:80": "10.0.0.1:80", "[::1]:8": "[::1]:8"} {
		parsed, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(parsed); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}
