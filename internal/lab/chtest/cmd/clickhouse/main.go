// Command clickhouse runs the ClickHouse engine of the tests on its own, to try receiptd
// --clickhouse on a machine without a ClickHouse server. It is not for production.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/receiptd/receiptd/internal/lab/chserver"
	"github.com/receiptd/receiptd/internal/lab/chtest/engine"
)

type cli struct {
	Install installCommand `cmd:"" help:"Install the engine with npm, if it is missing."`
	Serve   serveCommand   `cmd:"" default:"withargs" help:"Serve a data directory over HTTP."`
}

type installCommand struct{}

// Run installs the engine.
func (installCommand) Run(ctx context.Context) error {
	path, err := chserver.Library(ctx)
	if err == nil {
		fmt.Println(path)
	}
	return err
}

type serveCommand struct {
	Data   string `default:"./clickhouse-data" placeholder:"DIR" help:"Directory of the tables."`
	Listen string `default:"127.0.0.1:8123" placeholder:"ADDR" help:"Address to listen on."`
	Stdin  bool   `help:"Exit at the end of standard input, for a parent that may be killed."`
}

// Run serves until it gets a signal.
func (s serveCommand) Run(ctx context.Context) error {
	library, err := chserver.Library(ctx)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(s.Data)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	e, err := engine.Open(library, dir)
	if err != nil {
		return err
	}
	defer e.Close()
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening http://%s\n", listener.Addr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.Stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
	}
	server := &http.Server{Handler: &engine.Handler{Engine: e}}
	stop := context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	k := kong.Parse(&cli{}, kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}
