package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// volume is a file system of its own in a file, mounted.
type volume struct {
	kind, image, device, at string
}

const volumeBytes = 512 << 20

// newVolume makes and mounts a file system; errImpossible where that is not permitted.
func (t *trial) newVolume(ctx context.Context, kind string) (*volume, error) {
	v := &volume{kind: kind, image: filepath.Join(t.lab.dir, filepath.Base(t.dir)+"."+kind), at: filepath.Join(t.dir, "volume")}
	err := os.MkdirAll(v.at, 0o755)
	if err == nil {
		err = os.WriteFile(v.image, nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(v.image, volumeBytes)
	}
	if err != nil {
		return nil, err
	}
	if _, err := command(ctx, "mkfs."+kind, "-q", v.image); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errImpossible, err), v.close(ctx))
	}
	if err := v.mount(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errImpossible, err), v.close(ctx))
	}
	return v, nil
}

func command(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (v *volume) mount(ctx context.Context) (err error) {
	if v.device, err = command(ctx, "losetup", "--find", "--show", v.image); err != nil {
		return err
	}
	// Without nouuid xfs is not mounted beside another one of the same name, see unmount.
	options := "noatime," + map[string]string{"ext4": "errors=remount-ro", "xfs": "nouuid"}[v.kind]
	if _, err = command(ctx, "mount", "-t", v.kind, "-o", options, v.device, v.at); err != nil {
		_, detach := command(ctx, "losetup", "-d", v.device)
		return errors.Join(err, detach)
	}
	return nil
}

// unmount may have to wait for a process that was just killed. What is mounted next is a copy on
// another device: a process beside that has mounts of its own, which it took over when it began,
// keeps the file system alive, and the old device would give us that one again, shut down as it is.
func (v *volume) unmount(ctx context.Context) (err error) {
	for range 100 {
		if err = v.unmountOnce(ctx); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err == nil {
		_, err = command(ctx, "cp", "--sparse=always", v.image, v.image+".next")
	}
	if err == nil {
		err = os.Rename(v.image+".next", v.image)
	}
	return err
}

// close removes all of it. Whatever it was at, it goes on.
func (v *volume) close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	_ = v.unmountOnce(ctx)
	return os.Remove(v.image)
}

// unmountOnce has the kernel drop the device with the last that holds it.
func (v *volume) unmountOnce(ctx context.Context) error {
	if _, err := command(ctx, "umount", v.at); err != nil {
		return err
	}
	_, err := command(ctx, "losetup", "-d", v.device)
	return err
}

const (
	// shutdownFS is EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, _IOR('X', 125, uint32).
	shutdownFS = 0x8004587d
	// noFlush: what the journal holds in memory is lost, too.
	noFlush = 2
)

// cutPower shuts the file system down as a power loss would: nothing that is not on the disk yet
// gets there any more.
func (v *volume) cutPower() error {
	dir, err := os.Open(v.at)
	if err != nil {
		return err
	}
	defer dir.Close()
	how := uint32(noFlush)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), shutdownFS, uintptr(unsafe.Pointer(&how))); e != 0 {
		return fmt.Errorf("shut the file system down: %w", e)
	}
	return nil
}

func (l *lab) powerLosses(context.Context) ([]faultCase, error) {
	const perVolume = 5
	var cases []faultCase
	for _, kind := range []string{"ext4", "xfs"} {
		for from := 0; from < l.Losses; from += perVolume {
			losses := min(perVolume, l.Losses-from)
			cases = append(cases, faultCase{fmt.Sprintf("%s, %d times", kind, losses), func(ctx context.Context, t *trial) (string, error) {
				return t.losePower(ctx, kind, losses)
			}})
		}
	}
	return cases, nil
}

func (t *trial) losePower(ctx context.Context, kind string, losses int) (seen string, err error) {
	v, err := t.newVolume(ctx, kind)
	if err != nil {
		return "", err
	}
	s := t.newServer(filepath.Join(v.at, "data"), "--checkpoint-interval=200ms")
	defer func() { err = errors.Join(err, s.kill(), v.close(ctx)) }()
	life, err := t.begin(ctx, s, 3)
	if err != nil {
		return "", err
	}
	for n := range losses {
		// Unlike a power loss the shutdown leaves the process running, to which the file system may
		// say then that a sync succeeded: what it answers from here on would never have left.
		off := func() error {
			life.dark.Store(true)
			return v.cutPower()
		}
		if err := t.under(ctx, s, life, 800*time.Millisecond, off); err != nil {
			return "", err
		}
		if err := errors.Join(s.kill(), v.unmount(ctx), v.mount(ctx)); err != nil {
			return "", err
		}
		life.dark.Store(false)
		if err := s.start(ctx); err != nil {
			return "", fmt.Errorf("loss %d: %w", n, err)
		}
		if err := life.survived(ctx, s); err != nil {
			return "", fmt.Errorf("loss %d: %w", n, err)
		}
	}
	return fmt.Sprintf("%s volumes that lost power %d times each: equal", kind, losses), s.stop()
}

// readOnly has the kernel find an error in the file system, which it then mounts read-only.
func (l *lab) readOnly(context.Context) ([]faultCase, error) {
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", errImpossible)
	}
	cases := make([]faultCase, max(l.Losses/5, 1))
	for i := range cases {
		cases[i] = faultCase{"ext4", readOnlyCase}
	}
	return cases, nil
}

func readOnlyCase(ctx context.Context, t *trial) (seen string, err error) {
	v, err := t.newVolume(ctx, "ext4")
	if err != nil {
		return "", err
	}
	s := t.newServer(filepath.Join(v.at, "data"), "--checkpoint-interval=200ms")
	defer func() { err = errors.Join(err, s.kill(), v.close(ctx)) }()
	life, err := t.begin(ctx, s, 3)
	trigger := "/sys/fs/ext4/" + filepath.Base(v.device) + "/trigger_fs_error"
	if err == nil && !exists(trigger) {
		return "", fmt.Errorf("%w: there is no %s", errImpossible, trigger)
	}
	if err == nil {
		err = t.under(ctx, s, life, 800*time.Millisecond, func() error { return os.WriteFile(trigger, []byte("1"), 0o200) })
	}
	if err != nil {
		return "", err
	}
	// What is answered from here on would have to be there as well.
	bounded, stop := context.WithTimeout(ctx, 5*time.Second)
	taken := life.send(bounded, s, 1) == nil
	stop()
	seen = "events refused"
	if !s.running() {
		seen = "ended by itself"
	}
	if taken {
		return "", errors.New("events are taken on a read-only disk")
	}
	if err := s.panicked(); err != nil {
		return "", err
	}
	if words := s.said(); !strings.Contains(words, "read-only") {
		return "", fmt.Errorf("%s without a word about the cause: %s", seen, s.lastWords())
	}
	if err := errors.Join(s.kill(), v.unmount(ctx)); err != nil {
		return "", err
	}
	if _, err := command(ctx, "sh", "-c", "e2fsck -p "+v.image+"; test $? -le 1"); err != nil {
		return "", err
	}
	if err := errors.Join(v.mount(ctx), s.start(ctx)); err != nil {
		return "", err
	}
	return seen + "; whole after it", errors.Join(life.survived(ctx, s), s.stop())
}
