package eventlog

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// nameTimeout is how long another server is waited for to say its name. One that is gone or
	// stands still does not.
	nameTimeout = time.Second
	// maxGreeting bounds what is read of what it says, in bytes.
	maxGreeting = 64 << 10
)

// checkName refuses a name that a server of the cluster has already, before this one has told
// anybody of itself: to the others both would be the same member, and what one of them stores would
// count as stored by the other.
func checkName(ctx context.Context, cfg *Config) error {
	var asking errgroup.Group
	for _, addr := range cfg.Peers.Routes {
		asking.Go(func() error {
			if name, id := cfg.Peers.serverAt(ctx, addr); name == cfg.Node {
				return fmt.Errorf("%w: %s has the NATS server at %s, %s", ErrNodeName, name, addr, id)
			}
			return nil
		})
	}
	return asking.Wait()
}

// serverAt is the name of the server that listens for others at an address, and the id of its
// process. They are the first that it says to whoever may connect. They are empty if it does not.
func (p *Peers) serverAt(ctx context.Context, addr string) (name, id string) {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", ""
	}
	defer conn.Close()
	if p.TLS != nil {
		own := p.tlsConfig()
		own.ServerName, _, _ = net.SplitHostPort(addr)
		conn = tls.Client(conn, own)
	}
	end, _ := ctx.Deadline()
	if conn.SetDeadline(end) != nil {
		return "", ""
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxGreeting)).ReadBytes('\n')
	if err != nil {
		return "", ""
	}
	return greeted(line)
}

// greeted is the name and the id in what a server says first; both are empty if it is none that a
// server says.
func greeted(line []byte) (name, id string) {
	greeting, ok := bytes.CutPrefix(line, []byte("INFO "))
	var info struct {
		Name string `json:"server_name"`
		ID   string `json:"server_id"`
	}
	if !ok || json.Unmarshal(greeting, &info) != nil {
		return "", ""
	}
	return info.Name, info.ID
}
