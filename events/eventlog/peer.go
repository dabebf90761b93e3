package eventlog

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// Peers has the NATS servers inside several processes form a cluster, in which the log lies with a
// copy at three of them. To the log it is like an outside cluster: no file of it is looked at,
// since a copy that is damaged or late gets what it lacks from the others.
type Peers struct {
	// Dir is the directory of this server's store.
	Dir string
	// Listen is where the servers meet, Routes are these addresses of all of them, and Secret is
	// what they prove to each other. It travels unencrypted unless there is TLS.
	Listen string
	Routes []string
	Secret string
	// TLS has the servers speak TLS, as both ends of it: each must have a certificate for an
	// address in Routes that the other one's authorities signed, RootCAs for those that it calls
	// and ClientCAs for those that call it; nil = unencrypted. Servers with and without it do not
	// meet.
	TLS *tls.Config
	// Fsync says when this server syncs what it stores.
	Fsync Fsync
}

// ErrStandalone is returned for a store of a server that was alone: in a cluster it would be
// deleted, as unknown there. ErrPeer is returned for one of a cluster, to a server that is alone.
var (
	ErrStandalone = errors.New("eventlog: the directory holds the log of a server that was alone; the NATS servers of a cluster would delete it as unknown. " +
		"Nothing was changed. To bring it into a cluster, back it up (receiptctl backup DIR --secrets --data OLD) and start all nodes on new data directories with --restore-from DIR")
	ErrPeer = errors.New("eventlog: the directory holds a copy of a cluster's log, which its node alone can open: receiptd with --node, --cluster-listen, --cluster-routes and --cluster-secret, as before; " +
		"receiptctl asks a running node for it, with --server instead of --data")
)

// peerFile marks a store of a cluster.
const peerFile = "NODE"

const (
	peerCluster = "receiptd"
	peerUser    = "receiptd"
	// systemUser is who may ask the servers about themselves, from inside the process.
	systemUser = "system"
	// peerTLSSeconds is how long a handshake between them may take, on a machine that is busy too.
	peerTLSSeconds = 10
	// peerLookEvery is how often one that waits for the server looks whether it failed.
	peerLookEvery = 100 * time.Millisecond
)

// peer is the NATS server in this process as one of a cluster.
type peer struct {
	srv      *server.Server
	lock     *flock.Flock
	logs     *serverLog
	password string
	logger   *slog.Logger
}

// startPeer starts the server; it may take until others are there before it answers anything.
func startPeer(ctx context.Context, cfg *Config) (*peer, error) {
	if err := cfg.Peers.checkTLS(); err != nil {
		return nil, err
	}
	if err := checkWritable(cfg.Peers.Dir); err != nil {
		return nil, err
	}
	if err := checkPeer(cfg.Peers.Dir, cfg.Node); err != nil {
		return nil, err
	}
	p := &peer{lock: flock.New(filepath.Join(cfg.Peers.Dir, "lock")), logs: newServerLog(cfg.Logger), password: rand.Text(), logger: cfg.Logger}
	if ok, err := p.lock.TryLock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", cfg.Peers.Dir, err)
	} else if !ok {
		return nil, fmt.Errorf("%w: %s", ErrInUse, cfg.Peers.Dir)
	}
	err := checkName(ctx, cfg) // with the lock held: no earlier process of this node is left
	if err == nil {
		if err = p.start(ctx, cfg); err != nil {
			err = fmt.Errorf("embedded nats-server: %w", err)
		}
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *peer) start(ctx context.Context, cfg *Config) error {
	text, err := peerConfig(cfg, p.password)
	if err != nil {
		return err
	}
	opts := new(server.Options)
	if err := opts.ProcessConfigString(text); err != nil {
		return errors.New(cfg.Peers.mask(err.Error())) // it may quote a route
	}
	// The server meets the others only once it listens for clients, too. Nobody can log in there:
	// the only user comes from inside the process.
	opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	opts.NoSigs, opts.DisableJetStreamBanner = true, true
	opts.SyncAlways, opts.SyncInterval = cfg.Peers.Fsync == FsyncAlways, embeddedSyncPeriod
	if cfg.Peers.TLS != nil {
		opts.Cluster.TLSConfig = cfg.Peers.tlsConfig()
		opts.Cluster.TLSTimeout, opts.Cluster.AuthTimeout = peerTLSSeconds, peerTLSSeconds+1
	}
	if p.srv, err = server.NewServer(opts); err != nil {
		return err
	}
	p.srv.SetLoggerV2(p.logs, false, false, false)
	p.srv.Start() // recovers the store, which cannot be interrupted
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not ready in time: %w", context.Cause(ctx))
	}
	return p.ready(ctx)
}

// ready waits until the server takes connections and listens for the others. It never does where
// another process has the address, and says so only after it was started.
func (p *peer) ready(ctx context.Context) error {
	for end := time.Now().Add(embeddedStartPeriod); time.Now().Before(end); {
		ready := p.srv.ReadyForConnections(peerLookEvery)
		if err := p.logs.fatal(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("not ready in time: %w", context.Cause(ctx))
		}
		if ready {
			return nil
		}
	}
	return errors.New("not ready for connections")
}

// askJetStream asks whether somebody answers for the streams. The nodes' servers choose one among
// them, and the first time only when all are heard: one that is missing might know of streams that
// the others do not.
func (l *Log) askJetStream(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.AccountInfo(ctx)
	if err != nil && l.cfg.Peers != nil {
		err = fmt.Errorf("%w (a new cluster begins when all nodes of --cluster-routes are there, and goes on while most are)", err)
	}
	return err
}

// mask is a text without the secret, as it is and as it is in a route.
func (p *Peers) mask(text string) string {
	route := url.UserPassword(peerUser, p.Secret).String()
	return strings.NewReplacer(route, peerUser+":***", p.Secret, "***").Replace(text)
}

// peerConfig is the server's configuration. The account is in its text, rather than made when the
// server runs: one that is made then is not known to a cluster in time.
func peerConfig(cfg *Config, password string) (string, error) {
	hash, err := hashPassword(password)
	if err != nil {
		return "", err
	}
	var routes []string
	for _, addr := range cfg.Peers.Routes {
		route := url.URL{Scheme: "nats-route", Host: addr, User: url.UserPassword(peerUser, cfg.Peers.Secret)}
		routes = append(routes, strconv.Quote(route.String()))
	}
	return fmt.Sprintf(`
server_name: %q
max_payload: %d
max_connections: %d
jetstream { store_dir: %q, max_memory_store: %d, max_file_store: %d }
cluster {
  name: %s
  listen: %q
  authorization { user: %s, password: %q }
  routes: [ %s ]
}
accounts {
  SYS {
    users: [ { user: %s, password: %q, allowed_connection_types: [ IN_PROCESS ] } ]
  }
  %s {
    jetstream: enabled
    users: [ { user: %s, password: %q, allowed_connection_types: [ IN_PROCESS ] } ]
  }
}
system_account: SYS
`, cfg.Node, embeddedMaxPayload, embeddedMaxConns, cfg.Peers.Dir, embeddedMaxMemory, int64(1)<<60,
		peerCluster, cfg.Peers.Listen, peerUser, cfg.Peers.Secret, strings.Join(routes, ", "), systemUser, hash, logAccount, logUser, hash), nil
}

// checkPeer refuses the store of a server that was alone, and marks a new one as a node's. A node's
// store belongs to one node: under another name its server would be another member of the cluster.
func checkPeer(dir, node string) error {
	path := filepath.Join(dir, peerFile)
	text, err := os.ReadFile(path)
	if err == nil {
		if was := strings.TrimSpace(string(text)); was != node {
			return fmt.Errorf("eventlog: %s is the store of node %s, and this is %s", dir, was, node)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, server.JetStreamStoreDir)); err == nil {
		return fmt.Errorf("%w: %s", ErrStandalone, dir)
	}
	return atomicfile.Write(path, []byte(node+"\n"), 0o600)
}

// IsPeer reports whether a directory is the store of a server that forms a cluster with others.
func IsPeer(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, peerFile))
	return err == nil
}

func (p *peer) connect(opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append(opts, nats.InProcessServer(p.srv), nats.UserInfo(logUser, p.password))...)
}

// stop shuts the server down: before that it hands over what it leads.
func (p *peer) stop() {
	if p.srv != nil {
		p.srv.Shutdown()
		p.srv.WaitForShutdown()
	}
	if err := p.lock.Unlock(); err != nil {
		p.logger.Warn("unlock the log's directory", slog.Any("error", err))
	}
}
