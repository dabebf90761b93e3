package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"

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
	// Profile, if not empty, is a file that gets a processor profile of the node's life.
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
func (n *Node) serve(ctx context.Context, dir string, out, messages io.Writer) (err error) {
	if n.Profile != "" {
		file, e := os.Create(n.Profile)
		if e != nil {
			return e
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return serveReceiptd(ctx, n.config(dir), out, messages)
}
