package dst

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// image is a copy of what is on the disk, to be made into what a next life finds.
type image struct {
	synced  *vfs.MemFS      // after a power loss that takes all that was not synced
	written *vfs.MemFS      // after kill -9
	whole   map[string]bool // files whose bytes were synced
	named   map[string]int  // in which order they got their names
}

func (d *disk) image(end ending) (i image) {
	d.mu.Lock()
	i.whole, i.named = maps.Clone(d.synced), maps.Clone(d.named)
	d.mu.Unlock()
	if end != endKill {
		i.synced = d.mem.CrashClone(vfs.CrashCloneCfg{})
	}
	if end != endPower {
		i.written = d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))})
	}
	return i
}

// after is what the next life finds.
func (i image) after(end ending, random *rand.Rand) *vfs.MemFS {
	switch end {
	case endKill:
		return i.written
	case endTorn:
		return i.tear(random)
	}
	return i.synced
}

// tear is what a power loss leaves if some of what was not synced got to the disk: of the files
// that were made and whose names were not synced the first ones are there, in the order in which a
// journal has them, and of bytes that were not synced a part.
func (i image) tear(random *rand.Rand) *vfs.MemFS {
	old := map[string]bool{}
	for _, name := range list(i.synced, "") {
		old[name] = true
	}
	added := slices.DeleteFunc(list(i.written, ""), func(name string) bool { return old[name] })
	slices.SortStableFunc(added, func(a, b string) int { return i.named[a] - i.named[b] })
	for _, name := range added[:random.IntN(len(added)+1)] {
		data := readAll(i.written, name)
		if !i.whole[name] && random.IntN(2) == 0 {
			data = data[:random.IntN(len(data)+1)]
		}
		if err := i.synced.MkdirAll(path.Dir(name), 0o755); err != nil {
			panic(err)
		}
		writeAll(i.synced, name, data)
	}
	return i.synced
}

// list names the files below a directory, in order.
func list(fs *vfs.MemFS, dir string) (files []string) {
	names, err := fs.List(dir)
	if err != nil {
		return nil
	}
	slices.Sort(names)
	for _, name := range names {
		p := path.Join(dir, name)
		if info, err := fs.Stat(p); err == nil && info.IsDir() {
			files = append(files, list(fs, p)...)
		} else if err == nil {
			files = append(files, p)
		}
	}
	return files
}

func readAll(fs *vfs.MemFS, name string) []byte {
	f, err := fs.Open(name)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		panic(err)
	}
	data := make([]byte, info.Size())
	if len(data) > 0 {
		if _, err := f.ReadAt(data, 0); err != nil {
			panic(err)
		}
	}
	return data
}

func writeAll(fs *vfs.MemFS, name string, data []byte) {
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		panic(err)
	}
	if _, err := f.Write(data); err != nil {
		panic(err)
	}
	if err := f.Sync(); err != nil {
		panic(err)
	}
	_ = f.Close()
	d, err := fs.OpenDir(path.Dir(name))
	if err != nil {
		panic(err)
	}
	_ = d.Sync()
	_ = d.Close()
}
