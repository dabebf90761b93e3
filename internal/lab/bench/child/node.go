package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/config"
)

// Node says how a [Receiptd] is one of several that form a cluster by themselves.
type Node struct {
	Name string
	// Listen and Routes are as for receiptd's --cluster-listen and --cluster-routes.
	Listen, Routes string
	Secret         string
	// Copies is how many nodes fold each partition; 0 = all.
	Copies int
	// Partitions of the log, which the first node makes.
	Partitions int
	// Profile, if not empty, is a file that gets a processor profile of what the node does between
	// one [Receiptd.ToggleProfile] and the next.
	Profile string
}

// nodeFile is where a server of serverNode finds its [Node], beside its data.
const nodeFile = "node.json"

// AsNode makes the server a node of a cluster, or one by itself with the partitions of one.
func (r *Receiptd) AsNode(n Node) *Receiptd {
	r.node = &n
	return r
}

// write leaves the node's settings where the server's process finds them.
func (n *Node) write(dir string) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, nodeFile), text, fs.FileMode(0o600))
}

// readNode reads what write has left in a directory.
func readNode(dir string) (n Node, err error) {
	text, err := os.ReadFile(filepath.Join(dir, nodeFile))
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		return n, fmt.Errorf("%s: %w", nodeFile, err)
	}
	return n, nil
}

// config is the node's configuration, with its data below dir.
func (n *Node) config(dir string) config.Config {
	c := ReceiptdConfig(dir)
	c.Log.Partitions = n.Partitions
	c.Cluster.Node, c.Cluster.Listen, c.Cluster.Routes = n.Name, n.Listen, n.Routes
	c.Cluster.Secret, c.Cluster.Copies = config.Secret(n.Secret), n.Copies
	return c
}

// serve runs the node until the context ends.
func (n *Node) serve(ctx context.Context, dir string, out, messages io.Writer) error {
	if n.Profile == "" {
		return serveReceiptd(ctx, n.config(dir), out, messages)
	}
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group.Go(func() error { return profile(ctx, n.Profile) })
	group.Go(func() error {
		defer cancel()
		return serveReceiptd(ctx, n.config(dir), out, messages)
	})
	return group.Wait()
}

// profileSignal begins and ends the profile of a node.
const profileSignal = syscall.SIGUSR1

// profile writes a processor profile of this process into a file, from one signal to the next, or
// until the context ends. What is profiled last stays.
func profile(ctx context.Context, path string) (err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, profileSignal)
	defer signal.Stop(signals)
	for ctx.Err() == nil {
		select {
		case <-signals:
			err = errors.Join(err, profileOnce(ctx, path, signals))
		case <-ctx.Done():
		}
	}
	return err
}

func profileOnce(ctx context.Context, path string, end <-chan os.Signal) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err = pprof.StartCPUProfile(file); err == nil {
		select {
		case <-end:
		case <-ctx.Done():
		}
		pprof.StopCPUProfile()
	}
	return errors.Join(err, file.Close())
}

// ToggleProfile begins the profile of a node that has one, or ends it.
func (r *Receiptd) ToggleProfile() error {
	if r.node == nil || r.node.Profile == "" {
		return nil
	}
	return r.server.cmd.Process.Signal(profileSignal)
}
