package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// asServer is the first argument with which a program that calls [ServeIfAsked] is a server.
const asServer = "serve-for-benchmark"

// ServeIfAsked makes the program one of the servers of [Serve], and ends it afterwards, if it was
// started by what [ThisProgram] returns. It is to be the first that main, or TestMain, does.
func ServeIfAsked() {
	if len(os.Args) != 4 || os.Args[1] != asServer {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := Serve(ctx, os.Args[2], os.Args[3], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ThisProgram is the command line that has this program run a server, by [ServeIfAsked].
func ThisProgram() (Self, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return Self{path, asServer}, nil
}
