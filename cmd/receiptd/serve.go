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
	tell := announce
	for {
		again, to, err := serve(ctx, settings, logger, stdout, tell)
		if err != nil || to == 0 {
			return err
		}
		if again.Cluster.Node == "" { // nodes do it when they start, one for all
			if _, err := runtime.Repartition(ctx, again, to, logger); err != nil {
				return fmt.Errorf("repartition: %w; the next start finishes what was begun of it", err)
			}
		}
		settings, tell = again, func(io.Writer, *runtime.Server, bool) {}
	}
}

// serve runs one server. It returns with what settings to go on and how many partitions the log is
// to have by then, if the server has ended for that; 0 otherwise.
func serve(ctx context.Context, settings config.Config, logger *slog.Logger, stdout io.Writer, tell func(io.Writer, *runtime.Server, bool)) (again config.Config, to int, err error) {
	server, err := runtime.Build(ctx, settings, logger, version())
	if err != nil {
		if ctx.Err() != nil {
			logger.Info("told to stop before the server was up", "reason", err)
			return again, 0, nil
		}
		return again, 0, err
	}
	tell(stdout, server, settings.Demo.On)
	again = server.RestartConfig()
	err = server.Run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settings.ShutdownTimeout)
	defer cancel()
	err = errors.Join(err, server.Close(closing))
	if ctx.Err() != nil {
		return again, 0, err
	}
	return again, server.Repartitions(), err
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
