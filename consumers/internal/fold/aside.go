package fold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/projections/store"
)

// A state that is bad, or that another one has taken the place of, may be the only copy of what the
// log has lost since. So it is put aside, and removed once the one in its place is proven:
//
//	000001 ──► aside-000001    000001, begun anew ──► aside-000002    000001, begun anew ──► proven
//
// One that fails before it is proven is put aside, too. The first stays then: it is the one that
// was complete. Of those after it only the latest does.
const (
	asidePrefix = "aside-"
	asideMax    = 2
)

// KeptPrefix begins the names of generations that are kept: nothing here removes them.
const KeptPrefix = "kept-"

// Aside are the directories of what was put aside in a partition's root, in that order. No name
// comes again while one of them is there. A nil file system is the disk.
func Aside(disk vfs.FS, root string) (dirs []string, err error) {
	disk = orDefault(disk)
	list, err := disk.List(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for what was put aside: %w", err)
	}
	slices.Sort(list)
	for _, name := range list {
		if strings.HasPrefix(name, asidePrefix) {
			dirs = append(dirs, disk.PathJoin(root, name))
		}
	}
	return dirs, nil
}

// putAside renames a generation's directory, so that it is none any more.
func putAside(disk vfs.FS, root, dir string) (aside string, err error) {
	there, err := Aside(disk, root)
	if err != nil {
		return "", err
	}
	next := 1
	if n := len(there); n > 0 {
		next = generationNumber(strings.TrimPrefix(disk.PathBase(there[n-1]), asidePrefix)) + 1
	}
	if len(there) >= asideMax {
		if err := Discard(disk, there[asideMax-1:]); err != nil {
			return "", err
		}
	}
	aside = disk.PathJoin(root, asidePrefix+generationName(next))
	if err = disk.Rename(dir, aside); err == nil {
		err = syncDir(disk, root)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("put a generation aside: %w", err)
	}
	return aside, nil
}

// Discard removes what was put aside: see [Prove]. A nil file system is the disk.
func Discard(disk vfs.FS, dirs []string) error {
	for _, dir := range dirs {
		if err := orDefault(disk).RemoveAll(dir); err != nil {
			return fmt.Errorf("remove a generation that was put aside: %w", err)
		}
	}
	return nil
}

// Keep has what was put aside kept, until somebody removes it. A nil file system is the disk.
func Keep(disk vfs.FS, dirs []string) error {
	disk = orDefault(disk)
	for _, dir := range dirs {
		if err := keep(disk, disk.PathDir(dir), dir); err != nil {
			return fmt.Errorf("keep a generation that was put aside: %w", err)
		}
	}
	return nil
}

// Keep closes a generation that is not the current one any more, and has it kept.
func (g *Generation) Keep(root string) error {
	g.async.Wait()
	err := errors.Join(g.Close(), keep(g.disk, root, g.dir))
	if err != nil {
		return fmt.Errorf("keep a generation: %w", err)
	}
	return nil
}

// keep gives a generation's directory the first free name of those that are kept.
func keep(disk vfs.FS, root, dir string) error {
	for n := 1; ; n++ {
		kept := disk.PathJoin(root, fmt.Sprint(KeptPrefix, n))
		if _, err := disk.Stat(kept); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return errors.Join(disk.Rename(dir, kept), syncDir(disk, root))
	}
}

// Retire closes a generation that another one has taken the place of, and puts it aside. One that
// never folded anything is removed.
func (g *Generation) Retire(root string) error {
	if at, _ := g.Part.Position(); at == 0 {
		return g.Remove()
	}
	g.Store.StopWaiting() // a full disk must not keep it
	g.async.Wait()
	_ = g.Close() // what it says at its end is no news
	_, err := putAside(g.disk, root, g.dir)
	return err
}

// Prove has a generation in use be what was folded, on the disk: it makes that durable and reads
// the files back, past the memory of the operating system, against their checksums. use is that of
// [Check]. What was put aside before is not needed any more then, if the generation is complete.
func Prove(ctx context.Context, use func(func(*Generation) error) error) error {
	var proven *Generation
	err := use(func(g *Generation) error {
		proven = g
		_, err := g.Durable()
		return err
	})
	if err != nil {
		return err
	}
	if err := ReadBack(ctx, use); err != nil {
		return err
	}
	return use(func(g *Generation) error {
		if g != proven {
			return errReplaced
		}
		return g.Store.Corrupt()
	})
}

// ReadBack is [Check] for a caller who only wants to know whether all of it is good.
func ReadBack(ctx context.Context, use func(func(*Generation) error) error) error {
	_, corrupt, err := Check(ctx, func(int) error { return ctx.Err() }, use)
	if len(corrupt) > 0 {
		return corrupt[0]
	}
	return err
}

// errReplaced is returned for a proof of a generation that is not in use any more. Whatever took
// its place is to be proven.
var errReplaced = errors.New("another state has taken its place meanwhile")

// AsideAgrees reports whether a state that was put aside stands on an entry that the log has, as
// [Generation.Agrees] does of one in use. So does one whose position cannot be read any more.
func AsideAgrees(ctx context.Context, log Log, partition int, dir string) (bool, error) {
	sequence, fingerprint, err := store.Position(dir)
	if err != nil {
		return true, nil
	}
	ok, err := agrees(ctx, log, partition, sequence, fingerprint)
	if errors.Is(err, ErrCutOff) {
		return false, nil
	}
	return ok, err
}
