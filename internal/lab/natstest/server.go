// Package natstest runs real NATS servers, logs and faulty networks for tests.
package natstest

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is a NATS server with JetStream on loopback TCP. Its port and store stay the same when it
// is stopped and started again. It ends with the test.
type Server struct {
	t    testing.TB
	dir  string
	port int
	edit []func(*server.Options)
	srv  *server.Server
}

// StartServer starts a server with a fresh store. Each edit may change its options, before every
// start.
func StartServer(t testing.TB, edit ...func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, dir: t.TempDir(), port: server.RANDOM_PORT, edit: edit}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again after Stop.
func (s *Server) Start() {
	s.t.Helper()
	opts := &server.Options{
		Host: "127.0.0.1", Port: s.port,
		JetStream: true, StoreDir: s.dir, DisableJetStreamBanner: true,
		JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 40,
		NoSigs: true, NoLog: true,
	}
	for _, edit := range s.edit {
		edit(opts)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		srv.Shutdown()
		s.t.Fatal("natstest: the server is not ready")
	}
	s.srv, s.port = srv, srv.Addr().(*net.TCPAddr).Port
}

// Stop shuts the server down and waits until it is. What it acknowledged stays in its store.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// Addr is the host and port of the server.
func (s *Server) Addr() string { return s.srv.Addr().String() }

// Store is the directory of a stream, for damage while the server is stopped.
func (s *Server) Store(stream string) string {
	return filepath.Join(s.dir, server.JetStreamStoreDir, server.DEFAULT_GLOBAL_ACCOUNT, "streams", stream)
}

// URL is what a client connects to.
func (s *Server) URL() string { return "nats://" + s.Addr() }

// JetStream returns a client of its own, for looking at the server independently of what is tested.
func (s *Server) JetStream() jetstream.JetStream {
	s.t.Helper()
	nc, err := nats.Connect(s.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	s.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	return js
}
