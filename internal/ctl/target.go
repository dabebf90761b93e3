package ctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/receiptd/receiptd/internal/config"
)

// defaultServer is where a server with no settings listens.
const defaultServer = "http://127.0.0.1:8080"

// Target is what a command works on: a running server, or the data of a stopped one.
type Target struct {
	// Server is the URL of a running server; empty: defaultServer.
	Server string `placeholder:"URL" help:"Running server to work on. Empty: http://127.0.0.1:8080."`
	// AdminKey authorizes; empty: read from the data directory.
	AdminKey config.Secret `placeholder:"KEY" help:"Admin key of the server. Empty: read from DIR/admin.key of --data."`
	// Data is a data directory; empty: that of a server with no settings.
	Data string `placeholder:"DIR" help:"Data directory: where the admin key is read (empty: ./data), and, for commands that can, the stopped server's data to work on."`
}

// Stopped reports whether the target is the data of a stopped server: a data directory is named and
// no server is. Whoever opens the data finds out whether a server has it open all the same.
func (t Target) Stopped() bool { return t.Server == "" && t.Data != "" }

// Client returns a client of the running server.
func (t Target) Client() (*Client, error) {
	server := t.Server
	if server == "" {
		server = defaultServer
	}
	key, err := t.adminKey()
	if err != nil {
		return nil, err
	}
	return NewClient(server, key)
}

// adminKey is the key that was given, or the one that the server keeps in its data directory.
func (t Target) adminKey() (string, error) {
	if t.AdminKey != "" {
		return t.AdminKey.Reveal(), nil
	}
	data := t.Data
	if data == "" {
		data = config.Default().Data
	}
	path := filepath.Join(data, config.AdminKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no admin key: give --admin-key, or --data with the server's data directory (there is no %s)", path)
	}
	if err != nil {
		return "", fmt.Errorf("read the admin key: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
