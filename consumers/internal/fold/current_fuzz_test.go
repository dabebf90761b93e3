package fold

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FuzzCurrent: whatever the file says that names the current generation, and whatever lies beside
// it, one that is there is current, or the first if there is none; the next start finds the same.
func FuzzCurrent(f *testing.F) {
	for _, text := range []string{"000002", "000002\n", "000009", "-00001", "2", "+00002", "", "\x00", "000001/../000002", "9999999999999999999", "1000000"} {
		f.Add([]byte(text), "000001", "000002")
		f.Add([]byte(text), "x", "-00001")
		f.Add([]byte(text), "2", "+00002")
	}
	f.Fuzz(func(t *testing.T, text []byte, dir, other string) {
		disk := vfs.NewMem()
		root := "state/p0"
		if err := disk.MkdirAll(root, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{dir, other} {
			if disk.PathBase(name) != name || name == "." || name == ".." || name == "/" || name == CurrentFile {
				return
			}
			if err := disk.MkdirAll(disk.PathJoin(root, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		file, err := disk.Create(disk.PathJoin(root, CurrentFile), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		numbers, err := Generations(disk, root)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			if name := generationName(n); n < 1 || name != dir && name != other {
				t.Errorf("%q, %q: generation %d is not there", dir, other, n)
			}
		}
		current, _, err := currentName(disk, root, numbers)
		if err != nil {
			t.Fatal(err)
		}
		if n := generationNumber(current); n < 1 || len(numbers) > 0 && !slices.Contains(numbers, n) {
			t.Errorf("%q beside %q and %q: %q is current", text, dir, other, current)
		}
		if again, named, err := currentName(disk, root, numbers); err != nil || again != current || !named {
			t.Errorf("%q: %q is current, and then %q, named %v, %v", text, current, again, named, err)
		}
	})
}
