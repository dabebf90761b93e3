package chserver

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gofrs/flock"
)

// What to install: one package at a fixed version. npm checks it against the hash in the lock file.
var (
	//go:embed package.json
	packageJSON []byte
	//go:embed package-lock.json
	packageLock []byte
)

const (
	libraryVersion = "26.7.3-stable.1"
	libraryFile    = "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so"
)

// Library returns the path of the engine's library, and has npm fetch it into the user's cache
// directory if it is not there (about 120 MB, 570 MB unpacked). It works on linux/amd64 with glibc.
func Library(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache directory: %w", err)
	}
	cache = filepath.Join(cache, "receiptd-chtest")
	dir := filepath.Join(cache, libraryVersion)
	path := filepath.Join(dir, libraryFile)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w", err)
	}
	lock := flock.New(filepath.Join(cache, "lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("lock the cache directory: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	if _, err := os.Stat(path); err == nil { // another process has installed it meanwhile
		return path, nil
	}
	if err := install(ctx, dir); err != nil {
		return "", fmt.Errorf("install the ClickHouse engine of the tests: %w", err)
	}
	return path, nil
}

// install creates dir in one step, so that it is either complete or absent.
func install(ctx context.Context, dir string) (err error) {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "install-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	for name, content := range map[string][]byte{"package.json": packageJSON, "package-lock.json": packageLock} {
		if err := os.WriteFile(filepath.Join(tmp, name), content, 0o644); err != nil {
			return err
		}
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = tmp
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(tmp, libraryFile)); err != nil {
		return fmt.Errorf("npm ci brought no library for this platform: %w", err)
	}
	return os.Rename(tmp, dir)
}
