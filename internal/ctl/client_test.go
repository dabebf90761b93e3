package ctl

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
)

func TestCallSendsKeyAndBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]int
		_ = json.NewDecoder(r.Body).Decode(&in)
		if r.Method != http.MethodPost || r.URL.String() != "/base/v1/x?q=1" || in["n"] != 7 ||
			r.Header.Get("Authorization") != "Bearer k" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("got %s %s %v %v", r.Method, r.URL, in, r.Header)
		}
		_, _ = w.Write([]byte(`{"ok":true}`))
	}))
	defer server.Close()
	client, err := NewClient(server.URL+"/base", "k")
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ OK bool }
	err = client.Call(t.Context(), http.MethodPost, "/v1/x", url.Values{"q": {"1"}}, map[string]int{"n": 7}, &out)
	if err != nil || !out.OK {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestErrorsOfTheServer(t *testing.T) {
	for _, test := range []struct {
		status    int
		body      string
		want      string
		temporary bool
	}{
		{404, `{"error":{"code":"not_found","message":"no such app"}}`, "server: no such app (404 not_found)", false},
		{502, "<html>", "server: Bad Gateway (502)", true},
		{429, `{"error":{"code":"busy","message":"later"}}`, "server: later (429 busy)", true},
		{501, "", "server: Not Implemented (501)", false},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			_, _ = w.Write([]byte(test.body))
		}))
		client, err := NewClient(server.URL, "k")
		if err != nil {
			t.Fatal(err)
		}
		err = client.Call(t.Context(), http.MethodGet, "/", nil, nil, nil)
		server.Close()
		var answer *Error
		if !errors.As(err, &answer) || answer.Error() != test.want || answer.Temporary() != test.temporary {
			t.Errorf("got %v (%+v), want %s", err, answer, test.want)
		}
	}
}

func TestUnreachableServerIsNamed(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	client, err := NewClient(server.URL, "k")
	if err != nil {
		t.Fatal(err)
	}
	err = client.Call(t.Context(), http.MethodGet, "/v1/x", nil, nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "no answer from "+server.URL+" (--server): ") {
		t.Errorf("got %v", err)
	}
}

func TestTargetFindsTheKey(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := (Target{}).Client(); err == nil || !strings.Contains(err.Error(), "no admin key: give --admin-key") {
		t.Errorf("without a key: %v", err)
	}
	for dir, key := range map[string]string{"data": "default", "other": "named"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, config.AdminKeyFile), []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		target      Target
		key, server string
		stopped     bool
	}{
		{Target{}, "default", defaultServer, false},
		{Target{Data: "other"}, "named", defaultServer, true},
		{Target{Data: "other", Server: "http://h:1"}, "named", "http://h:1", false},
		{Target{AdminKey: "given", Server: "https://h"}, "given", "https://h", false},
	} {
		client, err := test.target.Client()
		if err != nil {
			t.Fatal(err)
		}
		if client.key != test.key || client.base.String() != test.server || test.target.Stopped() != test.stopped {
			t.Errorf("%+v: key %q, server %s, stopped %v", test.target, client.key, client.base, test.target.Stopped())
		}
	}
	if _, err := (Target{Server: "localhost:8080"}).Client(); err == nil || !strings.Contains(err.Error(), "is not a URL like http://") {
		t.Errorf("a server without scheme: %v", err)
	}
}
