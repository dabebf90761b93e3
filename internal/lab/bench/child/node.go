package child

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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

// nodeConfig is the configuration of the node whose settings are in a directory.
func nodeConfig(dir string) (config.Config, error) {
	c := ReceiptdConfig(dir)
	text, err := os.ReadFile(filepath.Join(dir, nodeFile))
	if err != nil {
		return c, err
	}
	var n Node
	if err := json.Unmarshal(text, &n); err != nil {
		return c, fmt.Errorf("%s: %w", nodeFile, err)
	}
	c.Log.Partitions = n.Partitions
	c.Cluster.Node, c.Cluster.Listen, c.Cluster.Routes = n.Name, n.Listen, n.Routes
	c.Cluster.Secret, c.Cluster.Copies = config.Secret(n.Secret), n.Copies
	return c, nil
}
