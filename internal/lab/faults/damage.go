package main

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// corruptions are random damages to the files of a stopped server.
func (l *lab) corruptions(ctx context.Context) ([]faultCase, error) {
	x, err := l.makeTemplate(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]faultCase, l.Corruptions)
	for i := range list {
		list[i] = faultCase{"drawn", func(ctx context.Context, t *trial) (string, error) {
			from := x.killed
			if t.random.IntN(2) == 0 {
				from = x.stopped
			}
			var d damaged
			s, err := t.damaged(from, func(data string) (err error) {
				d, err = damage(t.random, data, x.older)
				return err
			})
			if err != nil {
				return "", err
			}
			defer s.sink.Kill()
			seen, err := judge(ctx, s, x.oracle, strings.Contains(d.what, "token.key"))
			if err != nil {
				return "", fmt.Errorf("%s: %w", d.what, err)
			}
			fmt.Fprintf(t.progress, "  %s\n", d.what)
			return seen, nil
		}}
	}
	return list, nil
}

// damaged says what was done to data.
type damaged struct{ what string }

// damage does one thing to one file, or now and then to a directory, below data. older is the same
// data earlier.
func damage(r *rand.Rand, data, older string) (damaged, error) {
	kinds, dirs, err := fileKinds(data)
	if err != nil {
		return damaged{}, err
	}
	if r.IntN(10) == 0 {
		return damageDir(r, data, older, dirs)
	}
	names := slices.Sorted(maps.Keys(kinds))
	kind := names[r.IntN(len(names))]
	file := kinds[kind][r.IntN(len(kinds[kind]))]
	path := filepath.Join(data, file)
	content, err := os.ReadFile(path)
	if err != nil {
		return damaged{}, err
	}
	done := func(how string, err error) (damaged, error) { return damaged{how + " " + file}, err }
	acts := []string{"bit", "cut", "zero", "remove", "swap", "double", "old"}
	act := acts[r.IntN(len(acts))]
	if len(content) == 0 && (act == "bit" || act == "cut" || act == "zero") {
		act = "remove"
	}
	switch act {
	case "bit":
		at := r.IntN(len(content) * 8)
		content[at/8] ^= 1 << (at % 8)
		return done(fmt.Sprintf("bit %d flipped in", at), os.WriteFile(path, content, 0o600))
	case "cut":
		n := r.IntN(len(content))
		return done(fmt.Sprintf("cut to %d of %d bytes:", n, len(content)), os.Truncate(path, int64(n)))
	case "zero":
		from := r.IntN(len(content))
		to := min(len(content), from+1+r.IntN(4096))
		clear(content[from:to])
		return done(fmt.Sprintf("bytes %d to %d zeroed in", from, to), os.WriteFile(path, content, 0o600))
	case "swap":
		others := slices.DeleteFunc(slices.Clone(kinds[kind]), func(f string) bool { return f == file })
		if len(others) == 0 {
			return done("removed:", os.Remove(path))
		}
		other := others[r.IntN(len(others))]
		return done("swapped with "+other+":", swap(path, filepath.Join(data, other)))
	case "double":
		twin := double(r, file)
		return done("copied as "+twin+":", os.WriteFile(filepath.Join(data, twin), content, 0o600))
	case "old":
		was, err := os.ReadFile(filepath.Join(older, file))
		if err != nil {
			return done("removed:", os.Remove(path))
		}
		return done("an older copy of", os.WriteFile(path, was, 0o600))
	}
	return done("removed:", os.Remove(path))
}

// damageDir removes a directory, swaps it with one of its kind, or brings an older one back.
func damageDir(r *rand.Rand, data, older string, dirs []string) (damaged, error) {
	dir := dirs[r.IntN(len(dirs))]
	path := filepath.Join(data, dir)
	switch r.IntN(3) {
	case 0:
		if other := filepath.Join(older, dir); exists(other) {
			return damaged{"an older copy of " + dir}, clone(path, other)
		}
	case 1:
		for _, other := range dirs {
			if other != dir && filepath.Dir(other) == filepath.Dir(dir) && digits.ReplaceAllString(other, "N") == digits.ReplaceAllString(dir, "N") {
				return damaged{"swapped with " + other + ": " + dir}, swap(path, filepath.Join(data, other))
			}
		}
	}
	return damaged{"removed: " + dir}, os.RemoveAll(path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func swap(a, b string) error {
	for _, move := range [][2]string{{a, a + ".swap"}, {b, a}, {a + ".swap", b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			return err
		}
	}
	return nil
}

var digits = regexp.MustCompile(`[0-9]+`)

// double is the name of a copy, which could be that of a file of its kind.
func double(r *rand.Rand, file string) string {
	base := filepath.Base(file)
	if at := digits.FindStringIndex(base); at != nil {
		number := fmt.Sprintf("%0*d", at[1]-at[0], 1+r.IntN(40))
		base = base[:at[0]] + number + base[at[1]:]
	} else {
		base += ".copy"
	}
	return filepath.Join(filepath.Dir(file), base)
}

// fileKinds lists the files below a data directory by kind, which is their path without its
// numbers, and the directories.
func fileKinds(data string) (kinds map[string][]string, dirs []string, err error) {
	kinds = map[string][]string{}
	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == data {
			return err
		}
		name, err := filepath.Rel(data, path)
		switch {
		case err != nil:
		case d.IsDir():
			dirs = append(dirs, name)
		case d.Type().IsRegular():
			kind := digits.ReplaceAllString(name, "N")
			kinds[kind] = append(kinds[kind], name)
		}
		return err
	})
	return kinds, dirs, err
}
