package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// insideEnv is set in a process that has a network and mounts of its own.
const insideEnv = "CLUSTER_LAB_INSIDE"

// goInside runs the tests once more with a network and mounts of their own, which end with them,
// and returns the exit code. The machine's own are not touched, and where it lets users do so, no
// root is needed. It is not done where the machine does not let it.
func goInside() (code int, done bool) {
	if os.Getenv(insideEnv) != "" {
		return 0, false
	}
	// The first one asks whether it is possible.
	for _, args := range [][]string{{"-test.run", "^$"}, os.Args[1:]} {
		cmd := exec.Command("/proc/self/exe", args...)
		cmd.Env = append(os.Environ(), insideEnv+"=1", programEnv+"="+program)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if !done {
			cmd.Stdout, cmd.Stderr = nil, nil
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if id := os.Getuid(); id != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		err := cmd.Run()
		if err != nil && !done {
			return 0, false
		}
		done = true
		if err != nil {
			return max(cmd.ProcessState.ExitCode(), 1), true
		}
	}
	return 0, true
}

// settleInside makes what is needed of the new network and the new mounts.
func settleInside() error {
	if os.Getenv(insideEnv) == "" {
		return nil
	}
	for _, err := range []error{
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		// ip keeps the names of networks in /run.
		syscall.Mount("lab", "/run", "tmpfs", 0, "mode=755"),
		ip("link", "set", "lo", "up"),
		ip("netns", "add", "probe"),
	} {
		if err != nil {
			return err
		}
	}
	inside = true
	return nil
}

// ip is the command of iproute2.
func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// mountSmall mounts a file system of its own; resize bounds it to so many bytes.
func mountSmall(dir string, bytes int64) error {
	return syscall.Mount("lab", dir, "tmpfs", 0, fmt.Sprintf("mode=755,size=%d", bytes))
}

func resize(dir string, bytes int64) error {
	return syscall.Mount("lab", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("mode=755,size=%d", bytes))
}

// used is how many bytes of a file system of its own are in use.
func used(dir string) (int64, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return int64(s.Blocks-s.Bfree) * s.Bsize, err
}

// fill leaves no room in a file system of its own. What is in use may grow before that is said.
func fill(dir string) error {
	for range 1000 {
		inUse, err := used(dir)
		if err != nil {
			return err
		}
		if err := resize(dir, inUse); !errors.Is(err, syscall.EINVAL) {
			return err
		}
	}
	return errors.New("it never stands still")
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
