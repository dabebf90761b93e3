package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/receiptd/receiptd/internal/lab/loopback"
)

// find returns the path of a program: on PATH, or else in the places that the patterns name, the
// last version first. If it is missing, the error says how to install it.
func find(program, debian string, places ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, pattern := range places {
		found, err := filepath.Glob(filepath.Join(pattern, program))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }), nil
		}
	}
	return "", fmt.Errorf("there is no %s on PATH or in %s; on Debian: apt-get install %s",
		program, strings.Join(places, ", "), debian)
}

// version is the largest number that is a part of a path, as in /usr/lib/postgresql/15/bin.
func version(path string) int {
	largest := 0
	for part := range strings.SplitSeq(path, string(filepath.Separator)) {
		if n, err := strconv.Atoi(part); err == nil {
			largest = max(largest, n)
		}
	}
	return largest
}

// unprivileged has a command run as one of the users, if this process is root's, and gives that
// user the directory. Some servers refuse to run as root.
func unprivileged(dir string, users ...string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range users {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, err
		}
		if err := mayEnter(filepath.Dir(dir), uid); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, fmt.Errorf("this is root, whom the server refuses, and there is no user %s", strings.Join(users, " or "))
}

// mayEnter returns an error that names the directory on the way to dir that is closed to a user who
// is neither root nor in its group.
func mayEnter(dir string, uid int) error {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode()&0o001 == 0 && !(ok && int(owner.Uid) == uid) {
			return fmt.Errorf("may not enter %s; choose another directory", dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// freePort returns a port on the loopback that nobody listens at.
func freePort() (uint16, error) {
	addrs, err := loopback.Free(1)
	if err != nil {
		return 0, err
	}
	addr, err := netip.ParseAddrPort(addrs[0])
	return addr.Port(), err
}

// listening is a probe of a server at an address.
func listening(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			err = c.Close()
		}
		return err
	}
}

// password returns a password for a server that only this process uses.
func password() string { return rand.Text() }
