package fold

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/projections/store"
)

// CurrentFile names the current generation of a partition. It lies beside the numbered directories
// of the generations, in the partition's root.
const CurrentFile = "CURRENT"

// OpenCurrent opens the current generation of a partition, or makes a first one, and removes what
// an interrupted rebuild left behind. A generation whose files are corrupt is put aside, and an
// empty one takes its place: see [Discard].
func OpenCurrent(root string, o Options) (*Generation, error) {
	dir, err := currentDir(root)
	if err != nil {
		return nil, err
	}
	g, err := Open(dir, o)
	if !errors.Is(err, store.ErrCorrupt) {
		return g, err
	}
	aside, moved := putAside(root, dir)
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
func putAside(root, dir string) (string, error) {
	if err := Discard(root); err != nil {
		return "", err
	}
	aside := filepath.Join(root, asidePrefix+filepath.Base(dir))
	if err := atomicfile.Rename(dir, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("put a generation aside: %w", err)
	}
	return aside, nil
}

// Discard removes what was put aside, once the state that was folded in its place is complete.
func Discard(root string) error {
	list, err := filepath.Glob(filepath.Join(root, asidePrefix+"*"))
	for _, dir := range list {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return fmt.Errorf("remove a generation that was put aside: %w", err)
	}
	return nil
}

// OpenNext makes an empty generation beside the current one.
func OpenNext(root string, o Options) (*Generation, error) {
	numbers, err := Generations(root)
	if err != nil {
		return nil, err
	}
	next := 1
	if len(numbers) > 0 {
		next = slices.Max(numbers) + 1
	}
	dir := filepath.Join(root, generationName(next))
	g, err := Open(dir, o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
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
	if _, err := putAside(root, old.dir); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// StartAgain puts an empty generation in the place of the current one, which is corrupt and is put
// aside. Nothing may use the old one any more. If it fails, the old one is closed.
func StartAgain(root string, old *Generation, o Options) (g *Generation, aside string, err error) {
	old.async.Wait()
	_ = old.Store.Discard() // what a corrupt store says at its end is no news
	if aside, err = putAside(root, old.dir); err != nil {
		return nil, aside, err
	}
	g, err = Open(old.dir, o)
	return g, aside, err
}

// IsAside reports whether a generation of the partition was put aside, and the one in its place is
// not complete yet.
func IsAside(root string) bool {
	list, _ := filepath.Glob(filepath.Join(root, asidePrefix+"*"))
	return len(list) > 0
}

// MakeCurrent makes the generation the current one, in one step and for good.
func (g *Generation) MakeCurrent(root string) error { return setCurrent(root, g.dir) }

func setCurrent(root, dir string) error {
	name := []byte(filepath.Base(dir) + "\n")
	if err := atomicfile.Write(filepath.Join(root, CurrentFile), name, 0o600); err != nil {
		return fmt.Errorf("switch generation: %w", err)
	}
	return nil
}

// currentDir is the directory of the current generation, of a first one if there is none yet. All
// other generations are removed.
func currentDir(root string) (string, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", fmt.Errorf("make state directory: %w", err)
	}
	numbers, err := Generations(root)
	if err != nil {
		return "", err
	}
	current, err := currentName(root, numbers)
	if err != nil {
		return "", err
	}
	for _, n := range numbers {
		if other := generationName(n); other != current {
			if err := os.RemoveAll(filepath.Join(root, other)); err != nil {
				return "", fmt.Errorf("remove left-over generation: %w", err)
			}
		}
	}
	return filepath.Join(root, current), nil
}

// currentName is the name of the current one of the generations in a partition's root. Where the
// file that names it is gone or names none of them, it is made again for the oldest: every
// generation is the fold of the log up to some position, and goes on from there; to begin a new one
// would throw away what the log may not have any more.
func currentName(root string, numbers []int) (string, error) {
	path := filepath.Join(root, CurrentFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read current generation: %w", err)
	}
	current := strings.TrimSpace(string(text))
	n, notNumber := strconv.Atoi(current)
	if err == nil && notNumber == nil && current == generationName(n) && (len(numbers) == 0 || slices.Contains(numbers, n)) {
		return current, nil
	}
	oldest := 1
	if len(numbers) > 0 {
		oldest = slices.Min(numbers)
	}
	dir := filepath.Join(root, generationName(oldest))
	return filepath.Base(dir), setCurrent(root, dir)
}

func generationName(n int) string { return fmt.Sprintf("%06d", n) }

// Generations returns the numbers of the generations that lie in a partition's root.
func Generations(root string) ([]int, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}
