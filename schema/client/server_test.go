package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/runtime"
	"github.com/receiptd/receiptd/schema/client"
)

// patience bounds what comes in a moment by itself; it is for a machine with much else to do.
const patience = time.Minute

// server is a receiptd in this process.
type server struct {
	URL, Key string
	stop     func() error
}

// launch starts a server with a data directory of its own.
func launch() (*server, error) {
	dir, err := os.MkdirTemp("", "receiptd")
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.Data = dir
	cfg.HTTP.Listen = "127.0.0.1:0"
	cfg.Log.Partitions = 2
	cfg.Log.Fsync = config.FsyncInterval
	ctx, cancel := context.WithCancel(context.Background())
	s, err := runtime.Build(ctx, cfg, slog.New(slog.DiscardHandler), "test")
	if err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return &server{URL: "http://" + s.Addr().String(), Key: s.AdminKey(), stop: func() error {
		cancel()
		return errors.Join(<-ended, s.Close(context.Background()), os.RemoveAll(dir))
	}}, nil
}

// start starts a server for a test, with an app "acme/chat" that has group receipts.
func start(t *testing.T) *server {
	t.Helper()
	s, err := launch()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	c := s.client(t, client.Config{})
	if _, err := c.PutApp(bound(t), client.SettingsChange{GroupReceipts: &client.GroupReceiptsChange{Enabled: new(true)}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// client returns one of the server's app that retries soon; what cfg sets stays.
func (s *server) client(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = s.URL
	}
	if cfg.Token == nil {
		cfg.Token = client.Key(s.Key)
	}
	if cfg.Retry.First == 0 {
		cfg.Retry.First = time.Millisecond
	}
	cfg.App = "acme/chat"
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bound is a context for what comes in a moment by itself.
func bound(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// proxy stands between a client and a server: what a test makes of a request and its answer. The
// answer is whole before it is handed on; nil in place of it cuts the connection.
func proxy(t *testing.T, s *server, answer func(r *http.Request, forward func() *http.Response) *http.Response) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		a := answer(r, func() *http.Response {
			out, err := http.NewRequest(r.Method, s.URL+r.URL.RequestURI(), bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return nil
			}
			out.Header = r.Header.Clone()
			a, err := http.DefaultClient.Do(out)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer a.Body.Close()
			whole, err := io.ReadAll(a.Body)
			if err != nil {
				t.Error(err)
			}
			a.Body = io.NopCloser(bytes.NewReader(whole))
			return a
		})
		if a == nil {
			panic(http.ErrAbortHandler)
		}
		for name, values := range a.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(a.StatusCode)
		_, _ = io.Copy(w, a.Body)
	})}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() { h.Close() })
	return "http://" + l.Addr().String()
}

// refusal is an answer that a server, or something before it, gives without doing anything.
func refusal(status int, retryAfter, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {retryAfter}}, Body: io.NopCloser(bytes.NewReader([]byte(body)))}
}

// pipe passes bytes on between clients and the server. It cuts connection n when cut(n) bytes of
// the answer have come.
func pipe(t *testing.T, s *server, cut func(n int) int) (url string, connections func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan int, 1)
	accepted <- 0
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := <-accepted
			accepted <- n + 1
			go func() {
				defer conn.Close()
				up, err := net.Dial("tcp", s.URL[len("http://"):])
				if err != nil {
					return
				}
				defer up.Close()
				go func() {
					_, _ = io.Copy(up, conn)
					_ = up.(*net.TCPConn).CloseWrite()
				}()
				most := int64(cut(n))
				if most == 0 {
					_, _ = up.Read(make([]byte, 1)) // the server has answered
				}
				_, _ = io.CopyN(conn, up, most)
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String(), func() int {
		n := <-accepted
		accepted <- n
		return n
	}
}

// must returns v, or ends the test.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
