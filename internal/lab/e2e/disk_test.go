package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mount gives a fresh file system of its own to the test, and its path; false where that is not
// permitted. It lives in the mount namespace of a process that ends with the test, and nobody else
// sees it.
func mount(t *testing.T, options string) (dir string, ok bool) {
	t.Helper()
	at := t.TempDir()
	script := `mount --make-rprivate / && mount -t tmpfs -o "$2" tmpfs "$1" && echo mounted && exec cat`
	holder := exec.Command("sh", "-c", script, "sh", at, options)
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		holder.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		holder.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		holder.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	hold, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Logf("no mounts here: %v", err)
		return "", false
	}
	t.Cleanup(func() {
		hold.Close() // cat ends
		_ = holder.Wait()
	})
	said := make([]byte, len("mounted\n"))
	if _, err := out.Read(said); err != nil {
		t.Logf("no mounts here: %v", err)
		return "", false
	}
	return fmt.Sprintf("/proc/%d/root%s", holder.Process.Pid, at), true
}

func TestUnwritableDataIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := func(name, data, where, want string) {
		t.Helper()
		if r := run(t, "receiptd", nil, "--data", data, "--listen=127.0.0.1:0"); r.code != 1 || r.out != "" ||
			!strings.Contains(r.err, want) || !strings.Contains(r.err, where) || strings.Contains(r.err, "goroutine ") {
			t.Errorf("%s: %v", name, r)
		}
	}
	refused("a file", file, file, "not a directory")
	refused("below a file", filepath.Join(file, "data"), file, "not a directory")
	if dir, ok := mount(t, "ro"); ok {
		refused("a read-only disk", dir, dir, "read-only file system")
		refused("on a read-only disk", filepath.Join(dir, "data"), dir, "read-only file system")
	}
	if os.Getuid() != 0 { // root may write everywhere
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		refused("no permission", dir, dir, "permission denied")
	}
}

// TestFullDisk fills the disk under load up to the reserve: events are refused as long as there is
// no room, and taken again when there is. What was acknowledged is there, also after kill -9. Where
// nothing can be mounted, a reserve that no disk has stands for a full one.
func TestFullDisk(t *testing.T) {
	dir, mounted := mount(t, "size=128m")
	s := newServer(t, "--min-free=32MiB")
	if mounted {
		s.data = filepath.Join(dir, "data")
	}
	s.start()
	l := newLoad(s, random(t).Uint64(), 4)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 5000 })
	var release func()
	if mounted {
		release = fill(t, dir, 33<<20)
	} else {
		s.restart("--min-free=1000000GiB")
		release = func() { s.restart() }
	}
	s.refusesAsFull(l)
	eventually(t, "readiness says that events are refused", func() bool {
		err := s.call("GET", "/readyz?for=writes", nil, nil)
		return err != nil && strings.Contains(err.Error(), "events are refused")
	})
	answered := l.sample(100)
	l.atLeast(answered) // questions are answered all the same
	s.verify()
	release()
	before := l.accepted()
	eventually(t, "events are accepted again", func() bool { return l.accepted() > before+5000 })
	s.kill()
	s.start()
	l.atLeast(answered)
	l.finish()
	l.exact()
	s.verify()
}

// TestDiskFilledByOthers has another file take all of the disk, to the last byte, under load. What
// is asked is answered meanwhile, by a process that goes on; events are refused, and taken again
// when there is room. What was acknowledged is there, also after kill -9.
func TestDiskFilledByOthers(t *testing.T) {
	dir, mounted := mount(t, "size=128m")
	if !mounted {
		t.Skip("nothing can be mounted here")
	}
	s := newServer(t)
	s.data = filepath.Join(dir, "data")
	s.start()
	l := newLoad(s, random(t).Uint64(), 4)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 5000 })
	answered := l.sample(100)
	release := fill(t, dir, 0)
	s.refusesAsFull(l)
	for range 20 { // longer than a checkpoint waits for the next one, and for a flush
		l.atLeast(answered)
		time.Sleep(200 * time.Millisecond) // the disk stays full for four seconds
	}
	release()
	before := l.accepted()
	eventually(t, "events are accepted again", func() bool { return l.accepted() > before+5000 })
	s.kill()
	s.start()
	l.atLeast(answered)
	l.finish()
	l.exact()
	s.verify()
}

// fill writes a file that leaves about so much room on a disk, until it is released.
func fill(t *testing.T, dir string, leave uint64) (release func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	for {
		var disk syscall.Statfs_t
		if err := syscall.Statfs(dir, &disk); err != nil {
			t.Fatal(err)
		}
		if disk.Bavail*uint64(disk.Bsize) <= leave {
			return func() { os.Remove(path) }
		}
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) && leave == 0 {
			return func() { os.Remove(path) }
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// restart stops the server under whatever load there is and starts it with other settings.
func (s *server) restart(args ...string) {
	s.t.Helper()
	s.stop()
	s.args = args
	s.start()
}

// refusesAsFull waits until all events are refused for want of room.
func (s *server) refusesAsFull(l *load) {
	s.t.Helper()
	eventually(s.t, "events are refused", func() bool {
		err := l.clients[0].probe()
		r, ok := err.(*refusal)
		return ok && r.status == 503 && r.Body.Code == "log_full" && r.retryAfter != ""
	})
}

// probe sends an event of no consequence.
func (c *client) probe() error {
	_, err := c.load.s.do("POST", appPath(c.load.app)+"/events", ndjson, []byte(`{"type":"conversation.read","user":"nobody","peer":"no one"}`))
	return err
}

// TestWriteErrors has the system refuse writes under load, where no reserve warned of it: files may
// not grow beyond some size. The server ends and says why; what it had acknowledged is there when
// writes work again.
func TestWriteErrors(t *testing.T) {
	r := random(t)
	s := startServer(t)
	l := newLoad(s, r.Uint64(), 4)
	s.stop()
	// The shell's unit is 512 bytes.
	limit := fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, (64+r.IntN(448))<<10/512)
	s.wrapper = []string{"/bin/sh", "-c", limit}
	s.start()
	l.start()
	code, err := s.exit()
	if err != nil || code != 1 {
		t.Errorf("exit %d, %v", code, err)
	}
	if !strings.Contains(s.log(), "file too large") {
		t.Error("the log does not say what is wrong")
	}
	answered := l.sample(100)
	s.wrapper = nil
	s.start()
	l.atLeast(answered)
	l.finish()
	l.exact()
	s.verify()
}
