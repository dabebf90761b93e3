package child

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/runtime"
)

// Names of the servers that serve runs.
const (
	serverReceiptd = "receiptd"
	// serverReceiptdNATS is receiptd with its NATS door, whose URL follows the secret.
	serverReceiptdNATS = "receiptd-nats"
	// serverNode is receiptd as a [Node].
	serverNode = "receiptd-node"
	ServerNATS = "nats-server"
)

// serve runs one of the servers that are linked into this program until the context ends. The first
// line it writes to out has the server's address and a secret.
func serve(ctx context.Context, name, dir string, out, messages io.Writer) error {
	switch name {
	case serverReceiptd:
		return serveReceiptd(ctx, ReceiptdConfig(dir), out, messages)
	case serverReceiptdNATS:
		cfg := ReceiptdConfig(dir)
		cfg.Log.NATSListen, cfg.Log.NATSPassword = "127.0.0.1:0", config.Secret(rand.Text())
		return serveReceiptd(ctx, cfg, out, messages)
	case serverNode:
		n, err := readNode(dir)
		if err != nil {
			return err
		}
		return n.serve(ctx, dir, out, messages)
	case ServerNATS:
		return serveNATS(ctx, dir, out)
	}
	return fmt.Errorf("bench: no server %q", name)
}

// serveReceiptd runs receiptd.
func serveReceiptd(ctx context.Context, cfg config.Config, out, messages io.Writer) error {
	cfg = runtime.FitMemory(cfg, Warnings(messages))
	runtime.TuneMemory(cfg.State, 0)
	s, err := runtime.Build(ctx, cfg, Warnings(messages), "bench")
	if err != nil {
		return err
	}
	door := ""
	if address := s.Log.IngressAddr(); address != nil {
		door = fmt.Sprintf(" nats://%s:%s@%s", eventlog.DefaultIngressUser, cfg.Log.NATSPassword.Reveal(), address)
	}
	_, err = fmt.Fprintf(out, "http://%s %s%s\n", s.Addr(), s.AdminKey(), door)
	if err == nil {
		err = s.Run(ctx)
	}
	return errors.Join(err, s.Close(context.WithoutCancel(ctx)))
}

// ReceiptdConfig returns the default configuration, with its data below dir and a free port on the
// loopback.
func ReceiptdConfig(dir string) config.Config {
	c := config.Default()
	c.Data = filepath.Join(dir, "data")
	c.HTTP.Listen = "127.0.0.1:0"
	return c
}

// Warnings returns a logger that writes warnings and errors to w.
func Warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// serveNATS runs a NATS server that syncs every message before it acknowledges it, as receiptd's
// does.
func serveNATS(ctx context.Context, dir string, out io.Writer) error {
	token := rand.Text() // for a server that only this program is to use
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, Authorization: token, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, SyncAlways: true,
	})
	if err != nil {
		return err
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(startsWithin) {
		return errors.New("nats-server is not ready")
	}
	if _, err := fmt.Fprintf(out, "nats://%s %s\n", s.Addr(), token); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// Self is a command line that makes this program call serve. A server's name and its directory
// are appended to it.
type Self []string

// Start starts a server of serve in a process of its own, and returns what its first line says.
func (s Self) Start(ctx context.Context, p *Process, name, dir string) (address, secret string, err error) {
	if len(s) == 0 {
		return "", "", errors.New("no command line for a server")
	}
	in, out, err := os.Pipe()
	if err != nil {
		return "", "", err
	}
	defer in.Close()
	cmd := exec.Command(s[0], append(slices.Clone(s[1:]), name, dir)...)
	cmd.Stdout = out
	err = p.Start(cmd, filepath.Join(dir, name+".log"))
	out.Close() // the server has it
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, startsWithin)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = in.SetReadDeadline(time.Now()) })()
	line, err := bufio.NewReader(in).ReadString('\n')
	address, secret, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err == nil && !ok {
		err = fmt.Errorf("it says %q", line)
	}
	if err != nil {
		return "", "", fmt.Errorf("%s did not start: %w: %s", name, err, p.lastWords())
	}
	return address, secret, nil
}
