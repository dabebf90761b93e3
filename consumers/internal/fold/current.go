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
// empty one takes its place: see [Discard].
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

// asidePrefix begins the names of generations that were put aside.
const asidePrefix = "aside-"

// putAside renames a generation's directory, so that it is none any more. Only the latest is kept.
func putAside(disk vfs.FS, root, dir string) (string, error) {
	if err := Discard(disk, root); err != nil {
		return "", err
	}
	aside := disk.PathJoin(root, asidePrefix+disk.PathBase(dir))
	if err := disk.Rename(dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("put a generation aside: %w", err)
	}
	return aside, nil
}

// Discard removes what was put aside, once the state that was folded in its place is complete. A
// nil file system is the disk.
func Discard(disk vfs.FS, root string) error {
	disk = orDefault(disk)
	list, err := disk.List(root)
	for _, name := range list {
		if strings.HasPrefix(name, asidePrefix) {
			err = errors.Join(err, disk.RemoveAll(disk.PathJoin(root, name)))
		}
	}
	if err != nil {
		return fmt.Errorf("remove a generation that was put aside: %w", err)
	}
	return nil
}

// OpenNext makes an empty generation beside the current one.
func OpenNext(root string, o Options) (*Generation, error) {
	numbers, err := Generations(o.fs(), root)
	if err != nil {
		return nil, err
	}
	next := 1
	if len(numbers) > 0 {
		next = slices.Max(numbers) + 1
	}
	dir := o.fs().PathJoin(root, generationName(next))
	g, err := Open(dir, o)
	if err != nil {
		return nil, errors.Join(err, o.fs().RemoveAll(dir))
	}
	return g, nil
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

// currentDir is the directory of the current generation, of a first one if there is none yet. All
// other generations are removed.
func currentDir(disk vfs.FS, root string) (string, error) {
	if err := makeRoot(disk, root); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	name, err := readFile(disk, disk.PathJoin(root, CurrentFile))
	if errors.Is(err, fs.ErrNotExist) {
		dir := disk.PathJoin(root, generationName(1))
		return dir, setCurrent(disk, root, dir)
	}
	if err != nil {
		return "", fmt.Errorf("read current generation: %w", err)
	}
	current := strings.TrimSpace(string(name))
	if _, err := strconv.Atoi(current); err != nil {
		// All generations would look left over.
		return "", fmt.Errorf("read current generation: %q in %s is no generation", current, disk.PathJoin(root, CurrentFile))
	}
	numbers, err := Generations(disk, root)
	if err != nil {
		return "", err
	}
	there := slices.ContainsFunc(numbers, func(n int) bool { return generationName(n) == current })
	if !there && len(numbers) > 0 {
		return "", fmt.Errorf("read current generation: %s names %s, which is not there, and there are others", disk.PathJoin(root, CurrentFile), current)
	}
	for _, n := range numbers {
		if other := generationName(n); other != current {
			if err := disk.RemoveAll(disk.PathJoin(root, other)); err != nil {
				return "", fmt.Errorf("remove left-over generation: %w", err)
			}
		}
	}
	return disk.PathJoin(root, current), nil
}

// makeRoot makes a partition's directory, and the names of it and of the one above it durable: a
// state that is synced in a directory that is not would be gone with it.
func makeRoot(disk vfs.FS, root string) error {
	if err := disk.MkdirAll(root, 0o755); err != nil {
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

func generationName(n int) string { return fmt.Sprintf("%06d", n) }

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
		n, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if info, err := disk.Stat(disk.PathJoin(root, name)); err == nil && info.IsDir() {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}
