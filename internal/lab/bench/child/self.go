package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// asServer is the first argument that makes a program that calls [ServeIfAsked] a server.
const asServer = "serve-for-benchmark"

// ServeIfAsked runs one of the servers of serve and exits, if the program was started with the
// command line that [ThisProgram] returns. Otherwise it does nothing. Call it first in main or
// TestMain.
func ServeIfAsked() {
	if len(os.Args) != 4 || os.Args[1] != asServer {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := serve(ctx, os.Args[2], os.Args[3], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ThisProgram returns the command line that makes this program run a server in [ServeIfAsked]. It
// begins with the words of under, which name a program that becomes what follows them, in a cgroup
// or with another priority.
func ThisProgram(under ...string) (Self, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return append(slices.Clone(under), path, asServer), nil
}
