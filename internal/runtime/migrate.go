package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
)

const (
	// restoringDir is what a backup is restored to, in a data directory, on its way into a cluster.
	// The file provenFile in it says that it was, and of which backup.
	restoringDir = "restoring"
	provenFile   = "proven.json"

	// restoreTimeout is how long a node restores a log, or waits for the one that does.
	restoreTimeout = 24 * time.Hour
	// restoreLookEvery is how often one that waits looks.
	restoreLookEvery = 500 * time.Millisecond

	claimKey = "claim"
)

// errStandalone is returned for a node on the data of a server that was alone, which would be left
// lying there.
var errStandalone = errors.New("the data directory holds the log of a server that was alone, which a node does not read. Nothing was changed. " +
	"To bring it into a cluster, back it up (receiptctl backup DIR --secrets --data OLD), restore that into the NATS servers " +
	"(receiptctl restore DIR --into URL --data WORK), and start the nodes on new data directories; or start them with --restore-from DIR")

// checkOutside refuses a node of outside NATS servers a data directory with a log of its own.
func checkOutside(cfg *config.Config) error {
	dir := filepath.Join(cfg.Data, logDir)
	if _, err := os.Stat(dir); err != nil || cfg.Cluster.Node == "" || cfg.Log.NATS == "" {
		return nil
	}
	if eventlog.IsPeer(dir) {
		return fmt.Errorf("%w: %s", eventlog.ErrPeer, dir)
	}
	return fmt.Errorf("%w: %s", errStandalone, cfg.Data)
}

// errClaimed: somebody else restores a log into the cluster.
var errClaimed = errors.New("another process has begun to restore a log into this cluster; begin it again there")

// restoreClaim is who restores a log into a cluster.
type restoreClaim struct {
	// Holder is a name that no two processes that run at a time have.
	Holder string `json:"holder"`
	Backup string `json:"backup"`
	// Cleared is set once it was seen that there was nothing of receiptd before.
	Cleared bool `json:"cleared"`
}

// parseRestoreClaim reads a claim. One that names no holder is nobody's: neither is it this
// process's, nor may another one go on.
func parseRestoreClaim(text []byte) (c restoreClaim, err error) {
	if err = json.Unmarshal(text, &c); err == nil && (c.Holder == "" || c.Backup == "") {
		err = fmt.Errorf("the claim to restore names nobody: %q", text)
	}
	return c, err
}

// clusterRestore is a restore of a backup into a cluster.
type clusterRestore struct {
	backup   *backup.Backup
	conn     *nats.Conn
	replicas int
	work     string // a directory that is this process's alone
	holder   string
	logger   *slog.Logger
	progress func(backup.Progress)

	claims *cluster.Bucket
}

// backupName names a backup.
func backupName(b *backup.Backup) string { return b.Log + "@" + b.Made.UTC().Format(time.RFC3339Nano) }

// run restores the backup beside, proves it there, and brings it into the cluster, from where on it
// is the log. What was interrupted goes on; what is done already is left alone.
func (i *clusterRestore) run(ctx context.Context) (done Restored, err error) {
	there, err := i.there(ctx)
	if there {
		return Restored{Already: true}, i.tidy(ctx)
	}
	if err == nil {
		done, err = i.prove(ctx)
	}
	if err != nil {
		return done, err
	}
	if !done.Proven {
		i.logger.Warn("the state of the backup could not be folded and compared", "reason", done.Unproven)
	}
	local := filepath.Join(i.work, restoringDir)
	m := &eventlog.Mover{
		Conn: i.conn, Dir: filepath.Join(local, logDir), Witness: filepath.Join(local, witnessDir), Replicas: i.replicas, Backup: backupName(i.backup),
		Logger: i.logger, Progress: func(sent, total int64) {
			if i.progress != nil {
				i.progress(backup.Progress{Bytes: sent, Total: total})
			}
		},
	}
	if err := i.claim(ctx, m); err != nil {
		return done, err
	}
	if err := retry(ctx, i.logger, func(ctx context.Context) error { return i.giveSecrets(ctx, local) }); err != nil {
		return done, err
	}
	i.logger.Info("bringing the log into the cluster", "backup", backupName(i.backup))
	if err := m.Run(ctx); err != nil {
		return done, err
	}
	i.logger.Info("the log is in the cluster", "backup", backupName(i.backup), "log", done.Log)
	return done, i.tidy(ctx)
}

// there reports whether the cluster has the log of the backup.
func (i *clusterRestore) there(ctx context.Context) (bool, error) {
	name := ""
	err := retry(ctx, i.logger, func(ctx context.Context) (err error) {
		name, err = eventlog.Restored(ctx, i.conn)
		return err
	}, jetstream.ErrStreamNotFound, eventlog.ErrRestoring)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, eventlog.ErrRestoring):
		return false, nil
	case err != nil:
		return false, err
	case name != backupName(i.backup):
		return false, fmt.Errorf("%w: it is not one that was restored from this backup", eventlog.ErrOccupied)
	}
	return true, nil
}

// prove restores the backup to a directory beside, and folds it there, unless that was done before.
func (i *clusterRestore) prove(ctx context.Context) (done Restored, err error) {
	local := filepath.Join(i.work, restoringDir)
	proven := struct {
		Backup string
		Restored
	}{}
	if text, err := os.ReadFile(filepath.Join(local, provenFile)); err == nil && json.Unmarshal(text, &proven) == nil && proven.Backup == backupName(i.backup) {
		return proven.Restored, nil
	}
	if err := os.RemoveAll(local); err != nil {
		return done, err
	}
	cfg := config.Default()
	cfg.Data = local
	if proven.Restored, err = Restore(ctx, i.backup, cfg, i.logger, i.progress); err != nil {
		return proven.Restored, err
	}
	proven.Backup = backupName(i.backup)
	text, err := json.Marshal(proven)
	if err == nil {
		err = atomicfile.WriteSynced(filepath.Join(local, provenFile), text, 0o600)
	}
	return proven.Restored, err
}

// claim makes this process the only one that restores, for good: only what has its holder's name
// goes on. Until it is sure that the cluster had nothing before, nothing may be removed there.
func (i *clusterRestore) claim(ctx context.Context, m *eventlog.Mover) error {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	return retry(ctx, i.logger, func(ctx context.Context) (err error) {
		if i.claims, err = cluster.OpenBucket(ctx, i.conn, eventlog.RestoreClaim, i.replicas, 0); err != nil {
			return err
		}
		mine := restoreClaim{Holder: i.holder, Backup: backupName(i.backup)}
		now := mine
		text, revision, err := i.claims.Get(ctx, claimKey)
		switch {
		case errors.Is(err, cluster.ErrNotFound):
			if revision, err = i.put(ctx, mine, 0); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if now, err = parseRestoreClaim(text); err != nil {
				return err
			}
			if now.Holder != mine.Holder || now.Backup != mine.Backup {
				return fmt.Errorf("%w: it is %s, with %s", errClaimed, now.Holder, now.Backup)
			}
		}
		if now.Cleared {
			return nil
		}
		if err := m.Occupied(ctx, "KV_"+cluster.BucketName); err != nil {
			if errors.Is(err, eventlog.ErrOccupied) {
				err = errors.Join(err, i.forget(ctx))
			}
			return err
		}
		mine.Cleared = true
		_, err = i.put(ctx, mine, revision)
		return err
	}, errClaimed, eventlog.ErrOccupied)
}

func (i *clusterRestore) put(ctx context.Context, c restoreClaim, revision uint64) (uint64, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return i.claims.Create(ctx, claimKey, text)
	}
	return i.claims.Update(ctx, claimKey, text, revision)
}

// forget removes the claim.
func (i *clusterRestore) forget(ctx context.Context) error {
	js, err := jetstream.New(i.conn)
	if err != nil {
		return err
	}
	if err := js.DeleteKeyValue(ctx, eventlog.RestoreClaim); !errors.Is(err, jetstream.ErrBucketNotFound) {
		return err
	}
	return nil
}

// tidy removes what only the restore needed.
func (i *clusterRestore) tidy(ctx context.Context) error {
	if err := i.forget(ctx); err != nil {
		i.logger.Warn("the note of a restore that is done is still in the cluster", "error", err)
	}
	return os.RemoveAll(filepath.Join(i.work, restoringDir))
}

// giveSecrets makes the secrets of the backup those of the cluster, as its first node does.
func (i *clusterRestore) giveSecrets(ctx context.Context, local string) error {
	if len(i.backup.Secrets) == 0 {
		return nil
	}
	b, err := cluster.OpenBucket(ctx, i.conn, cluster.BucketName, i.replicas, 0)
	if err != nil {
		return err
	}
	for _, name := range secretFiles {
		text, err := os.ReadFile(filepath.Join(local, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read secret: %w", err)
		}
		if _, err := b.Share(ctx, secretKey(name), func() ([]byte, error) { return text, nil }); err != nil {
			return fmt.Errorf("share %s with the nodes: %w", name, err)
		}
	}
	return nil
}

// restoreFirst restores the log of a cluster that has none, at the start of a node that has the
// backup. One that has not waits until another one has done it.
func restoreFirst(cfg config.Config, logger *slog.Logger) func(context.Context, *nats.Conn) error {
	dir := cfg.Cluster.RestoreFrom
	if dir == "" {
		return nil
	}
	return func(ctx context.Context, nc *nats.Conn) error {
		_, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			logger.Info("waiting for the node that has the backup: it is not at this one", "dir", dir)
			return awaitLog(ctx, nc)
		}
		if err != nil {
			return err
		}
		b, err := backup.Open(dir)
		if err != nil {
			return err
		}
		i := &clusterRestore{backup: b, conn: nc, replicas: cfg.CopiesOfLog(), work: cfg.Data, holder: "node " + cfg.Cluster.Node, logger: logger}
		_, err = i.run(ctx)
		if errors.Is(err, errClaimed) {
			logger.Info("another node restores the log", "reason", err)
			return awaitLog(ctx, nc)
		}
		return err
	}
}

// awaitLog waits until there is a log, and all of it.
func awaitLog(ctx context.Context, nc *nats.Conn) error {
	for {
		try, cancel := context.WithTimeout(ctx, retryTryMax)
		_, err := eventlog.Restored(try, nc)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(restoreLookEvery):
		case <-ctx.Done():
			return fmt.Errorf("wait for the log that another node restores: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

// RestoreInto restores a backup into the NATS servers at a URL, which must have no log. The data
// directory of cfg is where it is restored and proven first, and where an interrupted restore is
// begun again; nothing stays there.
func RestoreInto(ctx context.Context, b *backup.Backup, cfg config.Config, logger *slog.Logger, progress func(backup.Progress)) (done Restored, err error) {
	if _, err := os.Stat(filepath.Join(cfg.Data, logDir)); err == nil {
		return done, fmt.Errorf("%s is a server's data directory; name another one, which is only needed meanwhile", cfg.Data)
	}
	lock, err := openData(cfg.Data)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	holder, err := secretFile(filepath.Join(cfg.Data, "holder"), 16)
	if err != nil {
		return done, err
	}
	opts := []nats.Option{nats.Name("receiptctl restore"), nats.MaxReconnects(-1)}
	if cfg.Log.NATSCredentials != "" {
		opts = append(opts, nats.UserCredentials(cfg.Log.NATSCredentials))
	}
	nc, err := nats.Connect(cfg.Log.NATS.Reveal(), opts...)
	if err != nil {
		return done, fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	i := &clusterRestore{backup: b, conn: nc, replicas: cfg.Log.Replicas, work: cfg.Data, holder: "receiptctl " + holder, logger: logger, progress: progress}
	done, err = i.run(ctx)
	done.Data = nc.ConnectedUrlRedacted()
	return done, err
}
