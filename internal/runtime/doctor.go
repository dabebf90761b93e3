package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/notary"
	"github.com/receiptd/receiptd/projections/store"
)

// Codes of findings that are not about the log's files; those are in package eventlog.
const (
	foundStateCorrupt = "state_corrupt"     // a table of the state is not what was written
	foundStateAside   = "state_aside"       // a state that was put aside is still there
	foundStateKept    = "state_kept"        // a state was kept that differs from the log
	foundStateMissing = "state_missing"     // there is a log and no state
	foundStateAhead   = "state_ahead"       // a state stands on an entry that the log does not have
	foundSecretOpen   = "secret_readable"   // others may read a secret
	foundSecretBad    = "secret_damaged"    // a file holds no secret, or what cannot be one
	foundHeadsBad     = "heads_damaged"     // the log's key is bad, or did not sign what is kept
	foundDisk         = "disk_full"         // less is free than is kept in reserve
	foundClock        = "clock_behind"      // the clock is before the last entry
	foundFiles        = "few_files"         // too few files may be open
	foundMemory       = "little_memory"     // there is less memory than the settings ask for
	foundConfig       = "config_invalid"    // a setting is wrong, or a file that it names is
	foundSinkAway     = "clickhouse_away"   // ClickHouse does not answer
	foundSinkBad      = "clickhouse_unfit"  // ClickHouse or its tables are not for this receiptd
	foundSinkOther    = "clickhouse_other"  // ClickHouse has entries that are not of this log
	foundSinkGap      = "clickhouse_gap"    // entries left the log before ClickHouse had them
	foundSinkNote     = "clickhouse_note"   // the note of the last insert is lost
	foundRepairing    = "repair_unfinished" // a repair was cut off
	foundOutside      = "log_outside"       // the log is in other NATS servers
	foundNothing      = "nothing_there"     // there is no log
)

// secretFileMode are the permission bits that no file with a secret may have.
const secretFileMode os.FileMode = 0o077

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
	// ClickHouse is where the sink stands; nil if there is none, or it could not be asked.
	ClickHouse *SinkStatus `json:"clickhouse,omitempty"`
}

// Examine looks at everything that lies in the data directory of a stopped server, at ClickHouse if
// it has one, at its configuration, whose problems are given, and at what it needs of the machine.
// It changes nothing.
func Examine(ctx context.Context, cfg config.Config, problems config.Problems) (x Examination, err error) {
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
	if err := repairing(cfg.Data); errors.Is(err, errRepairing) {
		x.add(eventlog.Finding{Code: foundRepairing, Fatal: true, File: filepath.Join(cfg.Data, repairingFile), What: "a repair was cut off"})
	} else if err != nil {
		return x, err
	}
	x.secrets(cfg)
	x.sink(ctx, cfg)
	x.configuration(cfg, problems)
	x.machine(cfg)
	x.Healthy = true
	for _, f := range x.Findings {
		x.Healthy = x.Healthy && !f.Fatal
	}
	return x, nil
}

func (x *Examination) add(f eventlog.Finding) {
	do := remedies[f.Code]
	if f.Stream != "" && f.Fatal && eventlog.IsPeer(filepath.Join(x.Data, logDir)) {
		do = replicaRemedy(f.Stream)
	}
	x.Findings = append(x.Findings, Finding{Finding: f, Do: do})
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
	eventlog.CodeBlockKept:      "nothing: the next start puts it back from its hard link",
	eventlog.CodeTornTail:       "nothing: the next start cuts it off",
	foundStateCorrupt:           "nothing: the next start puts the state aside and folds it again from the log",
	foundStateAside:             "nothing: it is removed when the state that is folded in its place is complete and proven",
	foundStateKept:              "remove it when nobody needs it any more: it may be the only trace of what was lost",
	foundStateMissing:           "nothing: the next start folds it from the log",
	foundSecretOpen:             "chmod 600",
	foundStateAhead:             "bring the newer log back; if it is lost: receiptctl repair --data DIR --accept-loss folds the state again from the log that there is",
	foundSecretBad:              "remove the file to have a new secret made; tokens made with the old one end",
	foundHeadsBad:               "bring log.key and heads/ back, or begin with new ones: receiptctl repair --data DIR --accept-loss moves them aside; evidence made before stays valid",
	foundDisk:                   "free disk space, or lower --min-free: until then every event is refused",
	foundClock:                  "set the clock: until it has passed that time nothing expires",
	foundFiles:                  "raise the limit of open files (ulimit -n, LimitNOFILE)",
	foundMemory:                 "give it more memory, or lower --cache-size: what is not in memory is read from the disk",
	foundConfig:                 "correct it: until then receiptd does not start",
	foundSinkAway:               "start ClickHouse or correct --clickhouse; nothing leaves the log before ClickHouse has it",
	foundSinkBad:                "bring ClickHouse and receiptd to versions that go together: until then nothing is stored there, and nothing leaves the log",
	foundSinkOther:              "point --clickhouse at the database of this log or at an empty one: until then nothing is stored there. If ClickHouse has what the log lost, it can tell what that was",
	foundSinkGap:                "restore a backup that has these entries: without them nothing more is stored there",
	foundSinkNote:               "nothing: the next start waits a minute, until no insert can be under way that would be there twice, and goes on",
	foundRepairing:              "run receiptctl repair with the same options again: it goes on with what is left; nothing starts before",
	foundOutside:                "ask those servers about it; their replicas guard it",
	foundNothing:                "nothing, if this is a new data directory; else look for the right one",
}

func (x *Examination) log(ctx context.Context, cfg config.Config) error {
	if len(cfg.Log.NATS) > 0 {
		x.add(eventlog.Finding{Code: foundOutside, What: "the log is in the NATS servers of --nats, and was not read"})
		return nil
	}
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
			if err := x.note(root, kind); err != nil {
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
		case strings.HasPrefix(d.Name(), projector.KeptPrefix):
			x.add(eventlog.Finding{Code: foundStateKept, File: dir, What: "a state that was kept, by a repair or since it stands on an entry that the log does not have"})
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

// note reads the note of the last insert beside a state of the sink's.
func (x *Examination) note(root, kind string) error {
	if kind != analyticsDir {
		return nil
	}
	path, err := analytics.CheckIntent(root)
	if errors.Is(err, analytics.ErrIntentLost) {
		x.add(eventlog.Finding{Code: foundSinkNote, File: path, What: err.Error()})
		err = nil
	}
	return err
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
		x.add(eventlog.Finding{Code: foundStateAhead, Fatal: true, Stream: x.Streams[i].Stream, File: dir, First: min(x.Streams[i].Top+1, sequence), Last: sequence,
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
