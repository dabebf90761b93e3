package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/notary"
	"github.com/receiptd/receiptd/projections/store"
)

// Codes of findings that are not about the log's files; those are in package eventlog.
const (
	foundStateCorrupt = "state_corrupt"   // a table of the state is not what was written
	foundStateAside   = "state_aside"     // a state that was put aside is still there
	foundStateMissing = "state_missing"   // there is a log and no state
	foundStateAhead   = "state_ahead"     // a state stands on an entry that the log does not have
	foundSecretOpen   = "secret_readable" // others may read a secret
	foundSecretBad    = "secret_damaged"  // a file holds no secret, or what cannot be one
	foundHeadsBad     = "heads_damaged"   // the log's key is damaged, or did not sign what is kept
	foundDisk         = "disk_full"       // less is free than is kept in reserve
	foundClock        = "clock_behind"    // the clock is before the last entry
	foundFiles        = "few_files"       // too few files may be open
	foundNothing      = "nothing_there"   // there is no log
)

const (
	// minOpenFiles are those of the log, the state and some thousand connections.
	minOpenFiles = 4096
	// clockTolerance is between the broker's clock and this one.
	clockTolerance = 5 * time.Second
	// secretFileMode is what others must not be allowed.
	secretFileMode os.FileMode = 0o077
)

// Finding is one thing that the doctor found.
type Finding struct {
	eventlog.Finding
	// Do says what to do about it.
	Do string `json:"do"`
}

// Examination is what the doctor found in the data of a stopped server.
type Examination struct {
	Data string `json:"data"`
	// Healthy is false if a start would refuse the data, or serve less than is right.
	Healthy  bool                   `json:"healthy"`
	Streams  []eventlog.StreamFiles `json:"streams"`
	Findings []Finding              `json:"findings"`
	// StateBytes of tables were read against their checksums.
	StateBytes int64 `json:"state_bytes"`
}

// Examine looks at everything that lies in the data directory of a stopped server, and at what it
// needs of the machine. It changes nothing.
func Examine(ctx context.Context, cfg config.Config) (x Examination, err error) {
	x.Data = cfg.Data
	if _, err := os.Stat(cfg.Data); err != nil {
		return x, fmt.Errorf("look at the data directory: %w", err)
	}
	lock, err := openData(cfg.Data)
	if err != nil {
		return x, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if err := x.log(ctx, cfg); err != nil {
		return x, err
	}
	if err := x.states(ctx, cfg); err != nil {
		return x, err
	}
	x.secrets(cfg)
	x.machine(cfg)
	x.Healthy = true
	for _, f := range x.Findings {
		x.Healthy = x.Healthy && !f.Fatal
	}
	return x, nil
}

func (x *Examination) add(f eventlog.Finding) {
	x.Findings = append(x.Findings, Finding{Finding: f, Do: remedies[f.Code]})
}

// remedies say what to do about each finding.
var remedies = map[string]string{
	eventlog.CodeUnreadable:     "mend what keeps the file from being read (permissions, the disk), then start again; nothing was changed",
	eventlog.CodeMetaDamaged:    "take it from a backup: receiptctl repair --data DIR --from BACKUP",
	eventlog.CodeMetaStale:      "nothing: the next start makes the checksum anew",
	eventlog.CodeBlockDamaged:   "take the entries from a backup: receiptctl repair --data DIR --from BACKUP; or accept their loss: receiptctl repair --data DIR --accept-loss",
	eventlog.CodeEntriesMissing: "bring the block files back, or take the entries from a backup: receiptctl repair --data DIR --from BACKUP; or accept their loss: receiptctl repair --data DIR --accept-loss",
	eventlog.CodeShorter:        "bring the newer files back, or take the entries from a backup: receiptctl repair --data DIR --from BACKUP; or accept their loss: receiptctl repair --data DIR --accept-loss",
	eventlog.CodeEntryDiffers:   "this is another log than the one that was acknowledged: bring that one back, or take this one: receiptctl repair --data DIR --accept-loss",
	eventlog.CodeStreamMissing:  "mount the volume or bring the directory back; if it is lost: receiptctl repair --data DIR --from BACKUP, or --accept-loss",
	eventlog.CodeStreamForeign:  "this is another log than the one that was acknowledged: bring that one back, or take this one: receiptctl repair --data DIR --accept-loss",
	eventlog.CodeWitnessDamaged: "if the log itself is without findings: receiptctl repair --data DIR --accept-loss begins a new witness",
	eventlog.CodeWitnessMissing: "nothing: the next start begins a new witness; what the log may have lost before cannot be told",
	eventlog.CodeTornTail:       "nothing: the next start cuts it off",
	foundStateCorrupt:           "nothing: the next start puts the state aside and folds it again from the log",
	foundStateAside:             "nothing: it is removed when the state that is folded in its place is complete",
	foundStateMissing:           "nothing: the next start folds it from the log",
	foundSecretOpen:             "chmod 600",
	foundStateAhead:             "bring the newer log back; if it is lost: receiptctl repair --data DIR --accept-loss folds the state again from the log that there is",
	foundSecretBad:              "remove the file to have a new secret made; tokens made with the old one end",
	foundHeadsBad:               "bring log.key and heads/ back, or begin with new ones: receiptctl repair --data DIR --accept-loss moves them aside; evidence made before stays valid",
	foundDisk:                   "free disk space, or lower --min-free: until then every event is refused",
	foundClock:                  "set the clock: until it has passed that time nothing expires",
	foundFiles:                  "raise the limit of open files (ulimit -n, LimitNOFILE)",
	foundNothing:                "nothing, if this is a new data directory; else look for the right one",
}

func (x *Examination) log(ctx context.Context, cfg config.Config) error {
	if _, err := os.Stat(filepath.Join(cfg.Data, logDir)); err != nil && !hasWitness(cfg) {
		x.add(eventlog.Finding{Code: foundNothing, What: "there is no log in " + cfg.Data})
		return nil
	}
	i, err := eventlog.Inspect(ctx, filepath.Join(cfg.Data, logDir), witnessOf(cfg), 0, nil)
	if err != nil {
		return err
	}
	x.Streams = i.Streams
	for _, f := range i.Findings {
		x.add(f)
	}
	return nil
}

func hasWitness(cfg config.Config) bool {
	list, err := os.ReadDir(witnessOf(cfg))
	return err == nil && len(list) > 0
}

// states reads the tables of the state and of the sink's.
func (x *Examination) states(ctx context.Context, cfg config.Config) error {
	for _, kind := range []string{stateDir, analyticsDir} {
		roots, err := filepath.Glob(filepath.Join(cfg.Data, kind, "p*"))
		if err != nil {
			return err
		}
		if len(roots) == 0 && kind == stateDir && len(x.Streams) > 0 {
			x.add(eventlog.Finding{Code: foundStateMissing, What: "there is a log and no state"})
		}
		for _, root := range roots {
			if err := x.state(ctx, root, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *Examination) state(ctx context.Context, root, kind string) error {
	dirs, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("look at the state: %w", err)
	}
	for _, d := range dirs {
		dir := filepath.Join(root, d.Name())
		switch {
		case !d.IsDir():
		case strings.HasPrefix(d.Name(), "aside-"):
			x.add(eventlog.Finding{Code: foundStateAside, File: dir, What: "a state that was put aside is still there"})
		default:
			n, err := store.Check(ctx, dir, nil)
			x.StateBytes += n
			if err == nil {
				err = x.position(ctx, root, dir, kind)
			}
			if errors.Is(err, store.ErrCorrupt) {
				x.add(eventlog.Finding{Code: foundStateCorrupt, File: dir, What: err.Error()})
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// position compares where a generation of the state stands with the log. The sink's goes by
// ClickHouse instead.
func (x *Examination) position(ctx context.Context, root, dir, kind string) error {
	sequence, fingerprint, err := store.Position(dir)
	if err != nil || kind != stateDir || sequence == 0 {
		return err
	}
	number, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(root), "p"))
	i := slices.IndexFunc(x.Streams, func(s eventlog.StreamFiles) bool { return s.Partition == number })
	if err != nil || i < 0 {
		return nil // the log's findings say so, or the log is not here
	}
	if files := x.Streams[i]; sequence < files.First {
		return nil // retention took the entry
	}
	got, err := x.Streams[i].FingerprintAt(ctx, sequence)
	if err != nil && !errors.Is(err, eventlog.ErrNoEntry) {
		return err
	}
	if err != nil || got != fingerprint {
		x.add(eventlog.Finding{Code: foundStateAhead, Fatal: true, Stream: x.Streams[i].Stream, File: dir, First: sequence, Last: sequence,
			What: fmt.Sprintf("the state stands on entry %d, and the log ends with entry %d or has another one there", sequence, x.Streams[i].Top)})
	}
	return nil
}

func (x *Examination) secrets(cfg config.Config) {
	if err := notary.Check(cfg.Data); err != nil {
		x.add(eventlog.Finding{Code: foundHeadsBad, Fatal: true, What: err.Error()})
	}
	for _, name := range []string{config.AdminKeyFile, tokenKeyFile, notary.KeyFile} {
		path := filepath.Join(cfg.Data, name)
		info, err := os.Stat(path)
		switch {
		case err != nil:
		case name != notary.KeyFile && secretProblem(path) != "":
			x.add(eventlog.Finding{Code: foundSecretBad, Fatal: true, File: path, What: secretProblem(path)})
		case info.Mode().Perm()&secretFileMode != 0:
			x.add(eventlog.Finding{Code: foundSecretOpen, File: path, What: fmt.Sprintf("others may read or write it: mode %04o", info.Mode().Perm())})
		}
	}
}

func (x *Examination) machine(cfg config.Config) {
	if free, err := eventlog.FreeSpace(cfg.Data); err == nil && free < int64(cfg.Log.MinFree) {
		x.add(eventlog.Finding{Code: foundDisk, Fatal: true, What: fmt.Sprintf(
			"%d MiB are free, %d MiB are kept in reserve", free>>20, int64(cfg.Log.MinFree)>>20)})
	}
	if files, known := openFilesLimit(); known && files < minOpenFiles {
		x.add(eventlog.Finding{Code: foundFiles, What: fmt.Sprintf("%d files may be open, %d are wanted", files, minOpenFiles)})
	}
	for _, s := range x.Streams {
		if last := s.LastTime; time.Until(last) > clockTolerance {
			x.add(eventlog.Finding{Code: foundClock, Stream: s.Stream, First: s.Last, What: "the last entry is of " + last.UTC().Format(time.RFC3339) + ", which is to come"})
		}
	}
}

// treeRepair notices whether a repair changes the Merkle trees of the log.
type treeRepair struct {
	leaves  eventlog.Leaves
	unknown bool // the hash of a lost entry is
}

func (t *treeRepair) leaf(partition int, sequence uint64) merkle.Hash {
	leaf := t.leaves(partition, sequence)
	t.unknown = t.unknown || leaf == merkle.Hash{}
	return leaf
}

// changed reports whether a tree is no longer what was signed: a hash is not known, or another log
// was taken for the right one.
func (t *treeRepair) changed(list []eventlog.Repaired) bool {
	return t.unknown || slices.ContainsFunc(list, func(r eventlog.Repaired) bool { return r.Partition >= 0 && r.OtherLog })
}

// Repair mends what a start refuses, in the data of a stopped server; see [eventlog.Repair]. A
// state that stands beyond the log is put aside and folded again, and so is every state if entries
// are lost. If the trees of the log are then other ones than were signed, key and heads are put
// aside too. It returns what it did to the log, and folds up to its end.
func Repair(ctx context.Context, cfg config.Config, o eventlog.RepairOptions, logger *slog.Logger) (list []eventlog.Repaired, err error) {
	lock, err := openData(cfg.Data)
	if err != nil {
		return nil, err
	}
	leaves, closeStates := projector.StoredLeaves(filepath.Join(cfg.Data, stateDir))
	tree := treeRepair{leaves: leaves}
	o.Leaves = tree.leaf
	list, err = eventlog.Repair(ctx, filepath.Join(cfg.Data, logDir), witnessOf(cfg), o)
	err = errors.Join(err, closeStates())
	if err == nil {
		var ahead []eventlog.Repaired
		ahead, err = statesAhead(ctx, cfg)
		list = append(list, ahead...)
	}
	if err == nil && (tree.changed(list) || o.AcceptLoss && notary.Check(cfg.Data) != nil) {
		err = notary.SetAside(cfg.Data, time.Now())
		list = append(list, eventlog.Repaired{
			Partition: -1, What: "the log's key and its signed heads are moved aside; the next start begins with new ones",
		})
	}
	if err = errors.Join(err, lock.Unlock()); err != nil {
		return list, err
	}
	core, err := openCore(ctx, cfg, true, logger)
	if err != nil {
		return list, err
	}
	_, err = core.Projector.CatchUp(ctx)
	if errors.Is(err, projector.ErrNeedsArchive) {
		err = fmt.Errorf("the log is repaired; %w", err)
	}
	if err == nil && slices.ContainsFunc(list, func(r eventlog.Repaired) bool { return len(r.Lost) > 0 }) {
		// The state may have folded what the log has lost: without this it would never be what the
		// log says. A log whose first entries have left it cannot say, and what the state has is
		// all there is.
		_, err = core.Projector.Rebuild(ctx, projector.RebuildOptions{Switch: true})
		if errors.Is(err, projector.ErrNeedsArchive) {
			err = nil
		}
	}
	return list, errors.Join(err, core.Close(context.WithoutCancel(ctx)))
}

// statesAhead says which states are going to be folded again since the log does not have what they
// stand on.
func statesAhead(ctx context.Context, cfg config.Config) (list []eventlog.Repaired, err error) {
	var x Examination
	if err := errors.Join(x.log(ctx, cfg), x.states(ctx, cfg)); err != nil {
		return nil, err
	}
	for _, f := range x.Findings {
		if f.Code == foundStateAhead {
			list = append(list, eventlog.Repaired{Stream: f.Stream, What: f.What + "; it is folded again from the log, and what was acknowledged besides is lost"})
		}
	}
	return list, nil
}
