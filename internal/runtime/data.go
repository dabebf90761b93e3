package runtime

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/gofrs/flock"

	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway"
)

// What lies in a data directory, beside the admin key.
const (
	logDir       = "log"       // the embedded NATS server's store
	witnessDir   = "witness"   // what the log is known to hold, unless it is elsewhere
	stateDir     = "state"     // checkpoints, a directory for each partition
	analyticsDir = "analytics" // the same of the fold that fills ClickHouse
	tokenKeyFile = "token.key" // signs user tokens, mode 0600
	lockFile     = "receiptd.lock"
)

// witnessOf is where the witness of the log is kept.
func witnessOf(cfg config.Config) string {
	return cmp.Or(cfg.Log.Witness, filepath.Join(cfg.Data, witnessDir))
}

// ErrInUse is returned when another process works on the data directory.
var ErrInUse = errors.New("the data directory is in use by another receiptd")

// openData makes the data directory if need be and takes it for this process. It is for its owner
// only, whatever the files in it say.
func openData(dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("data directory %s cannot be written: %w", dir, err)
	case !ok:
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return lock, nil
}

// secretFile returns the secret kept in a file, one made now if there is none.
func secretFile(path string, bytes int) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		s := strings.TrimSpace(string(text))
		if problem := problemOf(s, leastOf(path)); problem != "" {
			return "", fmt.Errorf("%s: %s %s; remove it to have a new secret made", foundSecretBad, path, problem)
		}
		return s, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // never fails
	s := hex.EncodeToString(raw)
	if err := atomicfile.Write(path, []byte(s+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	return s, nil
}

// minSecret is how short an admin key may be, in bytes. Shorter ones are what is left of a damaged
// file, and can be guessed.
const minSecret = 8

// leastOf is how short the secret in a file may be.
func leastOf(path string) int {
	if filepath.Base(path) == tokenKeyFile {
		return gateway.MinTokenKeyBytes
	}
	return minSecret
}

// problemOf says why a text cannot be a secret; empty if it can.
func problemOf(secret string, least int) string {
	switch {
	case secret == "":
		return "is empty"
	case len(secret) < least:
		return fmt.Sprintf("has %d characters, and fewer than %d are no secret", len(secret), least)
	case strings.ContainsFunc(secret, func(r rune) bool { return r == unicode.ReplacementChar || unicode.IsControl(r) }):
		return "is damaged: it has characters that cannot be printed"
	}
	return ""
}

// secretProblem is problemOf of what a file holds; empty for one that cannot be read.
func secretProblem(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return problemOf(strings.TrimSpace(string(text)), leastOf(path))
}
