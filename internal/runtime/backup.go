package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/backup"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/notary"
)

// secretFiles are what a backup has if secrets are asked for.
var secretFiles = []string{tokenKeyFile, config.AdminKeyFile, notary.KeyFile}

// origin is what a backup is made of: the log's server, the state, and the secrets in a data
// directory if they are asked for.
func (c *Core) origin(secrets bool) (backup.Origin, error) {
	o := backup.Origin{Log: c.Log, Digests: c.digests}
	if !secrets {
		return o, nil
	}
	o.Secrets = map[string][]byte{}
	for _, name := range secretFiles {
		text, err := os.ReadFile(filepath.Join(c.data, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was given as a setting, or is not made yet
		}
		if err != nil {
			return o, fmt.Errorf("read secret: %w", err)
		}
		o.Secrets[name] = text
	}
	return o, nil
}

func (c *Core) digests(ctx context.Context, upto []uint64) ([]backup.State, error) {
	states := make([]backup.State, len(upto))
	group, ctx := errgroup.WithContext(ctx)
	for k, sequence := range upto {
		group.Go(func() error {
			d, err := c.digest(ctx, k, sequence)
			states[k] = backup.State(d)
			return err
		})
	}
	return states, group.Wait()
}

// backup answers with a stream of tar: see [backup.Send]. The body says what the caller has.
func (a *admin) backup(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w) // one without deadlines, as in tests, stays without
	_ = control.SetReadDeadline(time.Now().Add(adminPatience))
	have, err := backup.ReadHave(r.Body)
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad_request", "the body does not say what there is: "+err.Error())
		return
	}
	if !a.backups.TryLock() {
		refuse(w, http.StatusConflict, "busy", "another backup is under way")
		return
	}
	defer a.backups.Unlock()
	o, err := a.core.origin(r.URL.Query().Get("secrets") == "true")
	if err == nil {
		out := &lateHeader{w: w}
		if err = backup.Send(r.Context(), out, o, have); out.begun {
			if err != nil {
				a.core.logger.Warn("a backup was not completed", slog.Any("error", err))
			}
			return
		}
	}
	switch {
	case errors.Is(err, backup.ErrForeign):
		refuse(w, http.StatusConflict, "foreign_log", err.Error())
	case err != nil:
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
	}
}

// lateHeader answers 200 with the first byte, so that an error before it can be told as one.
type lateHeader struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lateHeader) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-tar")
	}
	return l.w.Write(b)
}

// BackupStopped is a backup of a stopped server's data: it calls take with what [backup.Send] sends
// to have. The state is brought to the end of the log first.
func BackupStopped(ctx context.Context, cfg config.Config, secrets bool, have backup.Have, logger *slog.Logger, take func(io.Reader) error) (err error) {
	if _, err := os.Stat(filepath.Join(cfg.Data, logDir)); err != nil {
		return fmt.Errorf("%s holds no log: %w", cfg.Data, err)
	}
	core, err := openCore(ctx, cfg, asItIs, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close(context.WithoutCancel(ctx))) }()
	if _, err := core.Projector.CatchUp(ctx); err != nil {
		return err
	}
	o, err := core.origin(secrets)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := backup.Send(ctx, out, o, have)
		out.CloseWithError(err)
		sent <- err
	}()
	err = take(in)
	in.CloseWithError(io.ErrClosedPipe) // ends Send if take gave up
	if failed := <-sent; failed != nil && (err == nil || errors.Is(failed, backup.ErrForeign)) {
		err = failed
	}
	return err
}

// Restored is what a restore did.
type Restored struct {
	Data string `json:"data"`
	// Log is the new identity of the log.
	Log string `json:"log"`
	// Partitions compare the state that was folded from the restored log with that of the backup.
	Partitions []RestoredPartition `json:"partitions"`
	// Proven is set if all of them were folded and are equal.
	Proven bool `json:"proven"`
	// Unproven says why a state was not folded; empty if it was.
	Unproven string `json:"unproven,omitempty"`
	// Already is set if a cluster has the log of this backup already: nothing was done.
	Already bool `json:"already,omitempty"`
	// Secrets is false if there were none in the backup: new ones are made at the first start.
	Secrets bool `json:"secrets"`
}

// RestoredPartition is a partition of a restored log.
type RestoredPartition struct {
	Partition int    `json:"partition"`
	Position  uint64 `json:"position"`
	Backup    string `json:"backup"`
	Restored  string `json:"restored"`
}

// ErrNotProven is returned by [Restore] if the state that the restored log leads to is not the one
// that the backup was made at. What was restored is left beside the place where it was to be.
var ErrNotProven = errors.New("the state folded from the restored log is not that of the backup")

// Restore makes a new data directory from a backup: log, what lies beside it, witness, and the
// state, which is folded and compared with the digests in the backup. It is made in a directory
// beside, and gets its name when it is proven, so that data that is there is whole. Nothing is ever
// overwritten.
func Restore(ctx context.Context, b *backup.Backup, cfg config.Config, logger *slog.Logger, progress func(backup.Progress)) (done Restored, err error) {
	final := filepath.Clean(cfg.Data)
	if err := isFree(final); err != nil {
		return done, err
	}
	outside := cfg.Log.Witness != ""
	if outside {
		if err := isFree(cfg.Log.Witness); err != nil {
			return done, err
		}
	}
	work := final + ".restoring"
	if err := os.RemoveAll(work); err != nil { // of a restore that was cut off
		return done, err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return done, err
	}
	cfg.Data, cfg.Log.Partitions = work, 0
	if err := restoreFiles(ctx, b, cfg, progress); err != nil {
		return done, errors.Join(err, os.RemoveAll(work))
	}
	done = Restored{Data: final, Secrets: len(b.Secrets) > 0}
	if err := prove(ctx, b, cfg, logger, &done); err != nil {
		return done, err
	}
	if err := atomicfile.SyncTree(work); err != nil {
		return done, err
	}
	return done, atomicfile.Rename(work, final)
}

// isFree refuses what is there already, but for an empty directory.
func isFree(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty; a restore overwrites nothing", dir)
	}
	return os.Remove(dir)
}

func restoreFiles(ctx context.Context, b *backup.Backup, cfg config.Config, progress func(backup.Progress)) error {
	r, err := eventlog.Restore(filepath.Join(cfg.Data, logDir))
	if err != nil {
		return err
	}
	if err := b.Restore(ctx, r, progress); err != nil {
		return err
	}
	for _, f := range b.Secrets {
		text, err := b.Secret(f.Name)
		if err == nil {
			err = atomicfile.Write(filepath.Join(cfg.Data, f.Name), text, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return r.Witness(witnessOf(cfg))
}

// prove opens what was restored as a start would, folds it and compares the digests.
func prove(ctx context.Context, b *backup.Backup, cfg config.Config, logger *slog.Logger, done *Restored) (err error) {
	core, err := openCore(ctx, cfg, asItIs, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, core.Close(context.WithoutCancel(ctx))) }()
	done.Log = backup.Identity(core.Log)
	for _, s := range b.State {
		done.Partitions = append(done.Partitions, RestoredPartition{Partition: s.Partition, Position: s.Position, Backup: s.Digest})
	}
	if _, err := core.Projector.CatchUp(ctx); errors.Is(err, projector.ErrNeedsArchive) {
		done.Unproven = err.Error()
		return nil
	} else if err != nil {
		return err
	}
	list, err := core.Projector.Digests(ctx)
	if err != nil {
		return err
	}
	done.Proven = len(list) == len(b.State)
	for i := range min(len(list), len(b.State)) {
		done.Partitions[i].Restored = list[i].Digest
		done.Proven = done.Proven && backup.State(list[i]) == b.State[i]
	}
	if !done.Proven {
		return fmt.Errorf("%w; what was restored is in %s", ErrNotProven, cfg.Data)
	}
	return nil
}
