package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// failing are the system calls that touch files, and the errors that they are made to fail with.
var failing = []struct {
	call   string
	errors []string
}{
	{"openat", []string{"EIO", "EMFILE", "EACCES", "ENOSPC"}},
	{"read", []string{"EIO"}},
	{"pread64", []string{"EIO"}},
	{"write", []string{"EIO", "ENOSPC"}},
	{"pwrite64", []string{"EIO", "ENOSPC"}},
	{"fsync", []string{"EIO", "ENOSPC"}},
	{"fdatasync", []string{"EIO", "ENOSPC"}},
	{"renameat", []string{"EIO", "EACCES", "ENOSPC"}},
	{"unlinkat", []string{"EIO", "EACCES"}},
	{"linkat", []string{"EIO", "EACCES", "EMFILE"}},
	{"mkdirat", []string{"EIO", "EACCES", "ENOSPC"}},
	{"ftruncate", []string{"EIO"}},
	{"fallocate", []string{"ENOSPC"}},
	{"newfstatat", []string{"EIO", "EACCES"}},
	{"fstat", []string{"EIO"}},
	{"getdents64", []string{"EIO"}},
	{"lseek", []string{"EIO"}},
	{"sync_file_range", []string{"EIO"}},
	{"flock", []string{"EIO"}},
}

// places are how manieth call of a thread fails; Go spreads the calls over threads. A failure that
// passes and one that lasts take turns, early and late, so that a few of them are of every sort.
var places = []string{"1", "2+", "8", "18+", "3", "7+", "21", "47+", "2", "4+", "13", "29+", "5", "11+", "34", "76+"}

// calls have system calls on the files of the data directory fail, while it is opened and under a
// short load. Where the failure lasts (+), so does every call after it.
func (l *lab) calls(ctx context.Context) ([]faultCase, error) {
	if _, err := exec.LookPath("strace"); err != nil {
		return nil, fmt.Errorf("%w: there is no strace", errImpossible)
	}
	if err := exec.CommandContext(ctx, "strace", "-qq", "-o", os.DevNull, "true").Run(); err != nil {
		return nil, fmt.Errorf("%w: strace: %w", errImpossible, err)
	}
	x, err := l.makeTemplate(ctx)
	if err != nil {
		return nil, err
	}
	var cases []faultCase
	for _, f := range failing {
		for _, e := range f.errors {
			for i := range l.Calls {
				place := places[i%len(places)]
				cases = append(cases, faultCase{fmt.Sprintf("%s: %s at %s", f.call, e, place), func(ctx context.Context, t *trial) (string, error) {
					return t.callFails(ctx, x, f.call, e, place)
				}})
			}
		}
	}
	return cases, nil
}

func (t *trial) callFails(ctx context.Context, x *template, call, errno, place string) (seen string, err error) {
	data := filepath.Join(t.dir, "data")
	if err := clone(data, x.killed); err != nil {
		return "", err
	}
	s := t.newServer(data, "--checkpoint-interval=100ms")
	defer func() { err = errors.Join(err, s.kill()) }()
	paths, err := touched(data)
	if err != nil {
		return "", err
	}
	trace := filepath.Join(t.dir, "trace")
	s.wrapper = []string{"strace", "-f", "-qq", "--seccomp-bpf", "-o", trace, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%s", call, errno, place)}
	for _, p := range paths {
		s.wrapper = append(s.wrapper, "-P", p)
	}
	// New traffic, in an app of its own, beside what is there.
	life, err := newLife(t.random.Uint64(), 2)
	if err != nil {
		return "", err
	}
	life.app = "bench#beside"
	if err := s.launch(); err != nil {
		return "", err
	}
	prepared := false
	switch err := s.ready(ctx, 20*time.Second); {
	case errors.Is(err, errEnded):
		seen = "start refused"
	case errors.Is(err, errLate):
		seen = "not ready while it lasts"
	case err != nil:
		return "", err
	default:
		seen = "served"
		bounded, stop := context.WithTimeout(ctx, 8*time.Second)
		if prepared = life.prepare(bounded, s) == nil; prepared {
			_ = life.send(bounded, s, 6) // what is refused is sent again below
		}
		stop()
		if !s.running() {
			seen = "ended while it served"
		}
	}
	words, all := s.lastWords(), s.said()
	if err := s.panicked(); err != nil {
		return "", err
	}
	_, _ = s.child().signal(syscall.SIGTERM)
	if !within(3, func() bool { return !s.running() }) {
		_, _ = s.child().signal(syscall.SIGKILL)
	}
	if err := errors.Join(s.panicked(), s.kill()); err != nil {
		return "", err
	}
	hits, err := os.ReadFile(trace)
	if err != nil {
		return "", err
	}
	injected := strings.Contains(string(hits), "(INJECTED)")
	if !injected {
		seen = "never came to it"
	} else if seen != "served" && !named(all) && !strings.Contains(all, data) {
		return "", fmt.Errorf("%s without a word about the cause: %s", seen, words)
	}
	// The cause is gone.
	s.wrapper = nil
	if err := s.start(ctx); err != nil {
		return "", fmt.Errorf("after %s (%s): the next start: %w", seen, words, err)
	}
	if missing, err := x.oracle.compare(ctx, s, false); err != nil || missing > 0 {
		return "", fmt.Errorf("after %s (%s): %w", seen, words, err)
	}
	if _, err := x.oracle.logins(ctx, s, false); err != nil {
		return "", fmt.Errorf("after %s (%s): %w", seen, words, err)
	}
	if !prepared {
		if err := life.prepare(ctx, s); err != nil {
			return "", err
		}
	}
	if err := life.survived(ctx, s); err != nil {
		return "", fmt.Errorf("after %s (%s): %w", seen, words, err)
	}
	return seen + "; whole after it", s.stop()
}

// named reports whether a message names the error that was injected, in the words of Go.
func named(words string) bool {
	for _, e := range []syscall.Errno{syscall.EIO, syscall.EMFILE, syscall.ENOSPC, syscall.EACCES} {
		if strings.Contains(words, e.Error()) {
			return true
		}
	}
	return false
}

// touched lists the files and directories of the data, and those that a start and some load will
// make beside them.
func touched(data string) (paths []string, err error) {
	err = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		paths = append(paths, path)
		if d.IsDir() && filepath.Base(path) == "msgs" {
			for _, name := range []string{"2.blk", "3.blk", "index.db", "index.db.tmp"} {
				paths = append(paths, filepath.Join(path, name))
			}
		}
		if d.IsDir() && strings.HasPrefix(filepath.Base(path), "0000") {
			for n := range 40 {
				for _, form := range []string{"%06d.log", "%06d.sst", "MANIFEST-%06d", "OPTIONS-%06d"} {
					paths = append(paths, filepath.Join(path, fmt.Sprintf(form, n)))
				}
			}
		}
		return nil
	})
	slices.Sort(paths)
	return slices.Compact(paths), err
}

// traced is the process that strace watches.
type traced struct{ pid int }

// child is the process below the wrapper; none if it is gone.
func (s *server) child() traced {
	if s.cmd == nil {
		return traced{}
	}
	pid := s.cmd.Process.Pid
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	var below int
	if err == nil {
		_, _ = fmt.Sscan(string(text), &below)
	}
	return traced{below}
}

func (c traced) signal(s syscall.Signal) (bool, error) {
	if c.pid <= 0 {
		return false, nil
	}
	return true, syscall.Kill(c.pid, s)
}
