package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/runtime"
)

// serveCommand runs the server.
type serveCommand struct{}

// Run serves until the context ends, and drains.
func (serveCommand) Run(ctx context.Context, settings config.Config, logger *slog.Logger, stdout io.Writer) error {
	settings = runtime.FitMemory(settings, logger)
	runtime.TuneMemory(settings.State, 0)
	server, err := runtime.Build(ctx, settings, logger, version())
	if err != nil {
		if ctx.Err() != nil {
			logger.Info("told to stop before the server was up", "reason", err)
			return nil
		}
		return err
	}
	announce(stdout, server, settings.Demo.On)
	err = server.Run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settings.ShutdownTimeout)
	defer cancel()
	return errors.Join(err, server.Close(closing))
}

// announce tells people where the server is.
func announce(w io.Writer, server *runtime.Server, demo bool) {
	url := "http://" + reachable(server.Addr())
	fmt.Fprintf(w, "receiptd listens\n  page  %s/\n  API   %s/v1\n", url, url)
	if demo {
		fmt.Fprintf(w, "  demo  %s/demo\n", url)
	}
	if addr := server.Log.IngressAddr(); addr != nil {
		fmt.Fprintf(w, "  NATS  nats://%s\n", reachable(addr))
	}
	if file := server.AdminKeyFile(); file != "" {
		fmt.Fprintf(w, "  key   in %s\n", file)
	}
}

// reachable returns an address as a client on this machine would write it.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
