package eventlog

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"

	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/atomicfile"
)

const (
	// logAccount owns the streams. Its name is a directory of the store, so it never changes.
	logAccount = "RECEIPTS"
	// logUser is receiptd itself. It can only log in from inside the process.
	logUser = "receiptd"

	embeddedMaxPayload  = 8 << 20
	embeddedMaxConns    = DefaultIngressConnections
	embeddedMaxMemory   = 64 << 20 // for the consumers of readers, which need hardly any
	embeddedSyncPeriod  = time.Second
	embeddedStartPeriod = 10 * time.Minute // a large store after a crash, on a slow disk
	embeddedStartNotice = 5 * time.Second
)

// embedded is a nats-server inside this process, with its store below one directory.
type embedded struct {
	srv         *server.Server
	logs        *serverLog
	logger      *slog.Logger
	lock        *flock.Flock
	dir         string
	space       diskSpace
	password    string
	guard       guard
	uninspected int64 // bytes that the start did not read

	watching sync.WaitGroup
	stopping chan struct{} // closed when the server stops
	stopOnce sync.Once
}

// startEmbedded starts the server and waits until it has recovered its store.
func startEmbedded(ctx context.Context, cfg *Config) (*embedded, error) {
	if err := refuseDataDir(cfg.Dir); err != nil {
		return nil, err
	}
	if err := checkWritable(cfg.Dir); err != nil {
		return nil, err
	}
	if IsPeer(cfg.Dir) {
		return nil, fmt.Errorf("%w: %s", ErrPeer, cfg.Dir)
	}
	lock := flock.New(filepath.Join(cfg.Dir, "lock"))
	if ok, err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("lock %s: %w", cfg.Dir, err)
	} else if !ok {
		return nil, fmt.Errorf("%w: %s", ErrInUse, cfg.Dir)
	}
	e := &embedded{
		lock: lock, logs: newServerLog(cfg.Logger), logger: cfg.Logger, dir: cfg.Dir,
		space: diskSpace{dir: cfg.Dir, measure: diskFree, minFree: cfg.MinFree}, password: rand.Text(),
		stopping: make(chan struct{}),
	}
	if cfg.hooks.diskFree != nil {
		e.space.measure = cfg.hooks.diskFree
	}
	if err := e.prepare(ctx, cfg); err != nil {
		e.stop()
		return nil, err
	}
	if cfg.hooks.starting != nil {
		cfg.hooks.starting()
	}
	opts, err := e.options(cfg)
	if err == nil {
		e.srv, err = server.NewServer(opts)
	}
	if err != nil {
		e.stop()
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	e.srv.SetLoggerV2(e.logs, false, false, false)
	if err := e.start(ctx); err != nil {
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	return e, nil
}

// prepare looks at the files before the server may touch them: see [Inspect] and [guard].
func (e *embedded) prepare(ctx context.Context, cfg *Config) error {
	if err := restoreGuarded(cfg.Dir, streamsDir(cfg.Dir), cfg.Logger); err != nil {
		return err
	}
	if attestations, err := witness.Read(cfg.witnessDir()); err == nil {
		if err := mendMetas(cfg.Dir, attestations, cfg.Logger); err != nil {
			return err
		}
		if err := removeIncompleteStreams(ctx, cfg.Dir, attestations, cfg.Logger); err != nil {
			return err
		}
		if err := putBackKept(cfg.Dir, attestations, cfg.Logger); err != nil {
			return err
		}
	}
	i, err := Inspect(ctx, cfg.Dir, cfg.witnessDir(), cfg.InspectBytes, nil)
	if err == nil {
		err = i.Err()
	}
	if err != nil {
		return err
	}
	logFindings(cfg.Logger, i.Findings)
	e.uninspected = i.unread(cfg.Logger)
	if err := i.dispose(cfg.Dir); err != nil {
		return err
	}
	e.guard = guard{dir: cfg.Dir, streams: i.Streams, logger: cfg.Logger}
	return e.guard.raise()
}

// streamsDir is where the embedded server keeps the log's streams.
func streamsDir(dir string) string {
	return filepath.Join(dir, server.JetStreamStoreDir, logAccount, "streams")
}

// streamDir is where the embedded server keeps one of them.
func streamDir(dir, stream string) string { return filepath.Join(streamsDir(dir), stream) }

func (e *embedded) options(cfg *Config) (*server.Options, error) {
	account := server.NewAccount(logAccount)
	password, err := hashPassword(e.password)
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName: "receiptd",
		DontListen: true, // no TCP unless the ingress asks for it
		NoSigs:     true, // signals are the process's
		Accounts:   []*server.Account{account},
		Users: []*server.User{{
			Username: logUser, Password: password, Account: account,
			AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
		}},
		MaxPayload: embeddedMaxPayload,
		MaxConn:    cmp.Or(cfg.Ingress.MaxConnections, embeddedMaxConns),

		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               cfg.Dir,
		JetStreamMaxMemory:     embeddedMaxMemory,
		// The server's own default is a share of what is free when it starts, which a log that is
		// larger than the rest of the disk exceeds at once. We watch the free space instead.
		JetStreamMaxStore: math.MaxInt64 / 2,
		SyncAlways:        cfg.Fsync == FsyncAlways,
		SyncInterval:      embeddedSyncPeriod,
	}
	return opts, cfg.Ingress.apply(opts, password)
}

// hashPassword is for nats-server, which warns of plain passwords. It keeps them in memory only, so
// that the cheapest hash will do.
func hashPassword(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	return string(hash), err
}

// start runs the server and waits until it is ready, or else stops it. To recover a store takes
// time in proportion to its size and cannot be interrupted: if the context ends first, the server
// stops, and gives up its directory, as soon as the recovery is done.
func (e *embedded) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, embeddedStartPeriod)
	defer cancel()
	notice := time.AfterFunc(embeddedStartNotice, func() {
		e.logger.Info("still recovering the log", slog.String("dir", e.dir))
	})
	defer notice.Stop()
	started := make(chan error, 1)
	go func() { started <- e.run() }()
	select {
	case err := <-started:
		if err != nil {
			e.stop()
		}
		return err
	case <-ctx.Done():
		go func() {
			<-started
			e.stop()
		}()
		return fmt.Errorf("not ready in time: %w", context.Cause(ctx))
	}
}

func (e *embedded) run() error {
	e.srv.Start()
	if err := e.logs.fatal(); err != nil {
		return err
	}
	account, err := e.srv.LookupAccount(logAccount)
	if err != nil {
		return err
	}
	if err := account.EnableJetStream(nil, nil); err != nil {
		return fmt.Errorf("recover the store: %w", err)
	}
	if !e.srv.ReadyForConnections(embeddedStartPeriod) {
		return errors.New("not ready for connections")
	}
	return e.logs.fatal()
}

// connect opens a connection that does not leave the process, as one of the users that only log in
// from inside.
func (e *embedded) connect(user string, opts ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("", append(opts, nats.InProcessServer(e.srv), nats.UserInfo(user, e.password))...)
}

// failure is why the server cannot store anything any more, or nil. nats-server gives no answer to
// a publisher whose message it failed to write, and refuses all writes to that stream until it is
// started again. So when an answer is missing, somebody has to ask.
func (e *embedded) failure() error {
	if !e.srv.JetStreamEnabled() {
		return errStoreOff
	}
	health := e.srv.Healthz(&server.HealthzOptions{Account: logAccount})
	if health.Error != "" {
		return errors.New(health.Error)
	}
	return nil
}

// stop shuts the server down and waits for that. It may be called on a server that did not start
// completely.
func (e *embedded) stop() {
	e.stopOnce.Do(func() { close(e.stopping) })
	e.watching.Wait()
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
	if err := e.lock.Unlock(); err != nil {
		e.logger.Warn("unlock the log's directory", slog.Any("error", err))
	}
}

// What tells the data directory of a receiptd: its lock, and the log in it.
const (
	receiptdLock = "receiptd.lock"
	receiptdLog  = "log"
)

// refuseDataDir refuses the data directory of a receiptd, and everything in it but its log: a log
// made there would be a second, empty one, beside that which the server acknowledges into.
func refuseDataDir(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find the log's directory: %w", err)
	}
	data := ""
	if _, err := os.Stat(filepath.Join(abs, receiptdLog, server.JetStreamStoreDir)); err == nil {
		data = abs
	}
	for at, above := "", abs; data == "" && at != above; at, above = above, filepath.Dir(above) {
		if _, err := os.Stat(filepath.Join(above, receiptdLock)); err == nil {
			data = above
		}
	}
	if data == "" || abs == filepath.Join(data, receiptdLog) {
		return nil
	}
	return fmt.Errorf("%w: the log of %s is %s, for one program at a time; while the server runs, send it the events: by HTTP, by NATS, or with Config.URL if its log is in a cluster",
		ErrDataDir, data, filepath.Join(data, receiptdLog))
}

// checkWritable returns a plain error for what the server would fail with later.
func checkWritable(dir string) error {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the log's directory: %w", err)
	}
	f, err := os.CreateTemp(dir, "write-test-*")
	if err != nil {
		return fmt.Errorf("the log's directory is not writable: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 4096))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("the log's directory is not writable: %w", err)
	}
	return nil
}
