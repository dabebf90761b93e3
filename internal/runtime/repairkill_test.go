package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/projections/store"
)

// killedRepair tells this test, run as a process of its own, to repair and where to end.
const killedRepair = "RECEIPTD_TEST_KILLED_REPAIR"

// repairOrder is what it is told. It ends after a step, counted from 1; 0 = never.
type repairOrder struct {
	Data string
	Step int
}

// stepsFS is a disk whose durable steps are counted.
type stepsFS struct {
	vfs.FS
	step func()
}

func (s stepsFS) Rename(from, to string) error {
	defer s.step()
	return s.FS.Rename(from, to)
}

func (s stepsFS) RemoveAll(name string) error {
	defer s.step()
	return s.FS.RemoveAll(name)
}

func (s stepsFS) OpenDir(name string) (vfs.File, error) {
	f, err := s.FS.OpenDir(name)
	return stepsFile{f, s.step}, err
}

type stepsFile struct {
	vfs.File
	step func()
}

func (f stepsFile) Sync() error {
	defer f.step()
	return f.File.Sync()
}

// TestKilledRepair is the process that repairs. It writes how many steps there were.
func TestKilledRepair(t *testing.T) {
	text := os.Getenv(killedRepair)
	if text == "" {
		t.Skip("it is run by TestRepairIsFinishedWhereverItWasKilled")
	}
	var o repairOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	var steps atomic.Int64
	step := func() {
		if int(steps.Add(1)) == o.Step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until that has happened
		}
	}
	atomicfile.AfterSync, vfs.Default = step, &stepsFS{vfs.Default, step}
	if _, err := Repair(testContext(t), repairConfig(o.Data), eventlog.RepairOptions{AcceptLoss: true}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Data, "steps"), fmt.Append(nil, steps.Load()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func repairConfig(data string) config.Config {
	cfg := config.Default()
	cfg.Data, cfg.HTTP.Listen, cfg.Log.Partitions = data, "127.0.0.1:0", partitions
	return cfg
}

// run runs the process, and reports how many steps it did, 0 if it was killed.
func (o repairOrder) run(t *testing.T) (steps int) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledRepair$")
	cmd.Env = append(os.Environ(), killedRepair+"="+string(text))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return 0
	}
	done, read := os.ReadFile(filepath.Join(o.Data, "steps"))
	if err != nil || read != nil {
		t.Fatalf("the repair: %v, %v\n%s", err, read, out)
	}
	if _, err := fmt.Sscan(string(done), &steps); err != nil {
		t.Fatal(err)
	}
	return steps
}

// A repair that is killed, wherever, is finished by the next one: no start takes for whole what is
// not, nothing is lost that need not be, the state is what the log says, and what was kept is.
func TestRepairIsFinishedWhereverItWasKilled(t *testing.T) {
	older, whole := t.TempDir(), filepath.Join(t.TempDir(), "data")
	cfg := repairConfig(whole)
	live := func(id string) {
		r := start(t, cfg)
		r.append(configured(1, limit(10)))
		for i := range 20 {
			r.append(group(fmt.Sprint(id, i), 5)...)
		}
		r.caughtUp()
		r.stop()
	}
	live("a")
	copyTree(t, older, whole)
	live("b")
	entries := entriesOf(t, whole)
	blocks := func(data string, partition int) string {
		return filepath.Join(data, logDir, "jetstream", "RECEIPTS", "streams", fmt.Sprint("RECEIPTS_", partition), "msgs", "1.blk")
	}
	for name, damage := range map[string]func(data string) error{
		"bits, and a tail that is cut off": func(data string) error {
			first, err := os.ReadFile(blocks(data, 0))
			if err == nil {
				first[len(first)/2] ^= 1
				err = os.WriteFile(blocks(data, 0), first, 0o600)
			}
			info, missing := os.Stat(blocks(data, 1))
			if err = errors.Join(err, missing); err == nil {
				err = os.Truncate(blocks(data, 1), info.Size()*2/3)
			}
			return err
		},
		"a partition is gone": func(data string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(blocks(data, 1)))) },
		"the log is an older one, and its witness": func(data string) error {
			for _, dir := range []string{logDir, witnessDir} {
				if err := os.RemoveAll(filepath.Join(data, dir)); err != nil {
					return err
				}
				copyTree(t, filepath.Join(data, dir), filepath.Join(older, dir))
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			damaged := filepath.Join(t.TempDir(), "damaged")
			copyTree(t, damaged, whole)
			if err := damage(damaged); err != nil {
				t.Fatal(err)
			}
			order := repairOrder{Data: filepath.Join(t.TempDir(), "data")}
			again := func() {
				t.Helper()
				if err := os.RemoveAll(order.Data); err != nil {
					t.Fatal(err)
				}
				copyTree(t, order.Data, damaged)
			}
			again()
			steps := order.run(t)
			want, kept := entriesOf(t, order.Data), len(keptStates(repairConfig(order.Data)))
			for k := range want {
				for sequence, text := range want[k] {
					if text != entries[k][sequence] && text != lost {
						t.Fatalf("partition %d: entry %d is another one", k, sequence)
					}
				}
			}
			if steps < 10 {
				t.Fatalf("%d steps", steps)
			}
			stride := 1
			if testing.Short() {
				stride = max(1, steps/12)
			}
			t.Logf("%d steps, each %d. of them", steps, stride)
			for order.Step = 1; order.Step <= steps; order.Step += stride {
				again()
				if order.run(t) > 0 {
					continue // the state's steps are not the same each time
				}
				order.finished(t, want, kept)
			}
		})
	}
}

// finished repairs again, and compares what there is then with what a repair leaves that nobody
// killed.
func (o repairOrder) finished(t *testing.T, want [partitions]map[uint64]string, kept int) {
	t.Helper()
	at := fmt.Sprintf("killed after step %d", o.Step)
	cfg := repairConfig(o.Data)
	if s, err := Build(testContext(t), cfg, slog.New(slog.DiscardHandler), "test"); err == nil {
		o.proven(t, s.Core)
		if err := s.Close(testContext(t)); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	if _, err := Repair(testContext(t), cfg, eventlog.RepairOptions{AcceptLoss: true}, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("%s: the repair after it: %v", at, err)
		return
	}
	if got := entriesOf(t, o.Data); !slices.EqualFunc(got[:], want[:], sameEntries) {
		t.Errorf("%s: other entries are in the log than after a repair in one go", at)
	}
	states := keptStates(cfg)
	if len(states) < kept {
		t.Errorf("%s: kept are %q, want %d", at, states, kept)
	}
	for _, dir := range states[:min(kept, len(states))] {
		if sequence, _, err := store.Position(dir); err != nil || sequence == 0 {
			t.Errorf("%s: kept is a state at entry %d, %v", at, sequence, err)
		}
	}
	core, err := openCore(testContext(t), cfg, asItIs, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	o.proven(t, core)
	if err := core.Close(testContext(t)); err != nil {
		t.Errorf("%s: %v", at, err)
	}
}

// proven compares the state with the log, and the log with its heads.
func (o repairOrder) proven(t *testing.T, core *Core) {
	t.Helper()
	if _, err := core.Projector.CatchUp(testContext(t)); err != nil {
		t.Errorf("killed after step %d: %v", o.Step, err)
		return
	}
	result, err := core.Projector.Rebuild(testContext(t), projector.RebuildOptions{Heads: core.KnownHeads})
	if err != nil || !result.Equal {
		t.Errorf("killed after step %d: the state, or the log's heads: %+v, %v", o.Step, result.Partitions, err)
	}
}

const lost = "lost"

func sameEntries(a, b map[uint64]string) bool {
	if len(a) != len(b) {
		return false
	}
	for sequence, text := range a {
		if b[sequence] != text {
			return false
		}
	}
	return true
}

// entriesOf are the entries of a stopped server's log, by their sequences.
func entriesOf(t *testing.T, data string) (all [partitions]map[uint64]string) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "data")
	copyTree(t, copied, data)
	ctx := testContext(t)
	log, err := eventlog.Open(ctx, logConfig(repairConfig(copied), slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close(ctx)
	for k := range all {
		all[k] = map[uint64]string{}
		first, last, err := log.Bounds(ctx, k)
		if err != nil {
			t.Fatal(err)
		}
		for sequence := first; sequence > 0 && sequence <= last; sequence++ {
			e, err := log.EntryAt(ctx, k, sequence)
			if err != nil {
				t.Fatal(err)
			}
			all[k][sequence] = string(e.Data)
			if strings.HasPrefix(e.Subject, events.LostSubject(k)) {
				all[k][sequence] = lost
			}
		}
	}
	return all
}

func copyTree(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
