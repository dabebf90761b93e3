package fold

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections/store"
)

// CurrentFile names the current generation of a partition. It lies beside the numbered directories
// of the generations, in the partition's root.
const CurrentFile = "CURRENT"

// OpenCurrent opens the current generation of a partition, or makes a first one, and removes what
// an interrupted rebuild left behind. A generation whose files are corrupt is put aside, and an
// empty one takes its place: see [Prove].
func OpenCurrent(root string, o Options) (*Generation, error) {
	dir, err := currentDir(o.fs(), root)
	if err != nil {
		return nil, err
	}
	g, err := Open(dir, o)
	if !errors.Is(err, store.ErrCorrupt) {
		return g, err
	}
	aside, moved := putAside(o.fs(), root, dir)
	if moved != nil {
		return nil, errors.Join(err, moved)
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Error("the state is corrupt; it is put aside and folded again from the log", "error", err, "aside", aside)
	return Open(dir, o)
}

// Exists reports whether there is a state in a partition's root. A nil file system is the disk.
func Exists(disk vfs.FS, root string) bool {
	disk = orDefault(disk)
	_, err := disk.Stat(disk.PathJoin(root, CurrentFile))
	return err == nil
}

// Clear removes all there is of a partition, whose generations are closed, but what is kept: see
// [Keep]. What a crash leaves of it is no state. A nil file system is the disk.
func Clear(disk vfs.FS, root string) error {
	disk = orDefault(disk)
	err := disk.Remove(disk.PathJoin(root, CurrentFile))
	if err == nil {
		err = syncDir(disk, root)
	}
	if err = errors.Join(unlessGone(err), clearRoot(disk, root)); err != nil {
		return fmt.Errorf("remove a partition's state: %w", err)
	}
	return nil
}

func clearRoot(disk vfs.FS, root string) error {
	list, err := disk.List(root)
	if err != nil {
		return unlessGone(err)
	}
	kept := false
	for _, name := range list {
		if strings.HasPrefix(name, KeptPrefix) {
			kept = true
			continue
		}
		err = errors.Join(err, disk.RemoveAll(disk.PathJoin(root, name)))
	}
	if kept || err != nil {
		return err
	}
	return disk.RemoveAll(root)
}

// unlessGone is an error unless it says that something is not there.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// OpenNext makes an empty generation beside the current one.
func OpenNext(root string, o Options) (*Generation, error) {
	dir, err := nextDir(o.fs(), root)
	if err != nil {
		return nil, err
	}
	g, err := Open(dir, o)
	if err != nil {
		return nil, errors.Join(err, o.fs().RemoveAll(dir))
	}
	return g, nil
}

// nextDir is the directory of a generation that is to come.
func nextDir(disk vfs.FS, root string) (string, error) {
	numbers, err := Generations(disk, root)
	if err != nil {
		return "", err
	}
	next := 1
	if len(numbers) > 0 {
		next = slices.Max(numbers) + 1
	}
	return disk.PathJoin(root, generationName(next)), nil
}

// Replace puts an empty generation in the place of the current one, which is put aside. If it
// fails, the old one is closed.
func Replace(root string, old *Generation, o Options) (*Generation, error) {
	g, err := OpenNext(root, o)
	if err != nil {
		return nil, errors.Join(err, old.Close())
	}
	if err := g.MakeCurrent(root); err != nil {
		return nil, errors.Join(err, g.Remove(), old.Close())
	}
	if err := old.Close(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	if _, err := putAside(o.fs(), root, old.dir); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// StartAgain puts an empty generation in the place of the current one, which is corrupt and is put
// aside. Nothing may use the old one any more. If it fails, the old one is closed.
func StartAgain(root string, old *Generation, o Options) (g *Generation, aside string, err error) {
	old.async.Wait()
	_ = old.Store.Discard() // what a corrupt store says at its end is no news
	if aside, err = putAside(o.fs(), root, old.dir); err != nil {
		return nil, aside, err
	}
	g, err = Open(old.dir, o)
	return g, aside, err
}

// MakeCurrent makes the generation the current one, in one step and for good.
func (g *Generation) MakeCurrent(root string) error { return setCurrent(g.disk, root, g.dir) }

// setCurrent names the current generation: whenever the process ends, the old one or the new one.
func setCurrent(disk vfs.FS, root, dir string) error {
	path := disk.PathJoin(root, CurrentFile)
	err := writeSynced(disk, path+".tmp", disk.PathBase(dir)+"\n")
	if err == nil {
		err = disk.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(disk, root)
	}
	if err != nil {
		return fmt.Errorf("switch generation: %w", err)
	}
	return nil
}

func writeSynced(disk vfs.FS, path, content string) error {
	f, err := disk.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// currentDir is the directory of the current generation, of a first one if there is none yet. Other
// generations are removed that never were the current one. One that was, until a crash came before
// it was put aside, or may have been, is put aside now.
func currentDir(disk vfs.FS, root string) (string, error) {
	if err := makeRoot(disk, root); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	numbers, err := Generations(disk, root)
	if err == nil {
		err = removeIncoming(disk, root)
	}
	if err != nil {
		return "", err
	}
	current, named, err := currentName(disk, root, numbers)
	if err != nil {
		return "", err
	}
	for _, n := range numbers {
		other := disk.PathJoin(root, generationName(n))
		switch {
		case n == generationNumber(current):
		case named && n > generationNumber(current): // a rebuild that was cut off
			err = disk.RemoveAll(other)
		default:
			_, err = putAside(disk, root, other)
		}
		if err != nil {
			return "", fmt.Errorf("remove left-over generation: %w", err)
		}
	}
	return disk.PathJoin(root, current), nil
}

// makeRoot makes a partition's directory, and the names of it and of the one above it durable: a
// state that is synced in a directory that is not would be gone with it.
func makeRoot(disk vfs.FS, root string) error {
	if err := disk.MkdirAll(root, 0o700); err != nil {
		return err
	}
	above := disk.PathDir(root)
	return errors.Join(syncDir(disk, above), syncDir(disk, disk.PathDir(above)))
}

func readFile(disk vfs.FS, path string) ([]byte, error) {
	f, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	return text, errors.Join(err, f.Close())
}

// currentName is the name of the current one of the generations in a partition's root. Where the
// file that names it is gone or names none of them, named is false, and it is made again for the
// oldest: every generation is the fold of the log up to some position, and goes on from there; to
// begin a new one would throw away what the log may not have any more.
func currentName(disk vfs.FS, root string, numbers []int) (current string, named bool, err error) {
	text, err := readFile(disk, disk.PathJoin(root, CurrentFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("read current generation: %w", err)
	}
	current = strings.TrimSpace(string(text))
	if n := generationNumber(current); err == nil && n > 0 && (len(numbers) == 0 || slices.Contains(numbers, n)) {
		return current, true, nil
	}
	oldest := 1
	if len(numbers) > 0 {
		oldest = slices.Min(numbers)
	}
	current = generationName(oldest)
	return current, false, setCurrent(disk, root, disk.PathJoin(root, current))
}

func generationName(n int) string { return fmt.Sprintf("%06d", n) }

// generationNumber is the number of the generation that is called so; 0 if none can be.
func generationNumber(name string) int {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && name == generationName(n) {
		return n
	}
	return 0
}

// Generations returns the numbers of the generations that lie in a partition's root. A nil file
// system is the disk.
func Generations(disk vfs.FS, root string) ([]int, error) {
	disk = orDefault(disk)
	names, err := disk.List(root)
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	var numbers []int
	for _, name := range names {
		n := generationNumber(name)
		if n == 0 {
			continue
		}
		if info, err := disk.Stat(disk.PathJoin(root, name)); err == nil && info.IsDir() {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}
