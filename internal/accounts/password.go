package accounts

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/argon2"
)

// Argon2id with one of the parameter sets that OWASP lists as equally strong: that with the least
// memory, since many clients may log in at the same time. A stored hash names its own parameters.
const (
	hashTime      = 5
	hashMemoryKiB = 7 << 10
	hashThreads   = 1
	hashBytes     = 32
	saltBytes     = 16

	// maxHashMemoryKiB and maxHashTime bound what a stored hash may ask for.
	maxHashMemoryKiB = 1 << 20
	maxHashTime      = 100
)

// maxHashWaiting bounds the logins and registrations that wait for their turn to hash, and
// maxHashWaitingOfApp those of one app.
const (
	maxHashWaiting      = 4096
	maxHashWaitingOfApp = 1024
)

var errBadHash = errors.New("accounts: a stored hash is malformed")

// nobody is a hash that no password has. A password is compared with it where there is no such
// user, so that this takes as long.
var nobody = encodeHash(make([]byte, saltBytes), make([]byte, hashBytes))

// hasher bounds how many passwords are hashed at the same time: each takes a processor for some
// hundredths of a second. Apps take turns.
type hasher struct {
	mu      sync.Mutex
	free    int                        // turns that nobody has
	waiting map[string][]chan struct{} // by app: closed when the turn has come
	turns   []string                   // apps of which somebody waits, the next one first
	n       int                        // who wait

	busy prometheus.Counter
}

func newHasher(r prometheus.Registerer) *hasher {
	h := &hasher{
		free: max(runtime.GOMAXPROCS(0)/2, 1), waiting: make(map[string][]chan struct{}),
		busy: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "receiptd_accounts_busy_total", Help: "Logins and registrations refused because too many passwords were being hashed.",
		}),
	}
	if r != nil {
		r.MustRegister(h.busy)
	}
	return h
}

// enter waits for a turn of the app.
func (h *hasher) enter(ctx context.Context, app string) error {
	h.mu.Lock()
	if h.free > 0 {
		h.free--
		h.mu.Unlock()
		return nil
	}
	if h.n >= maxHashWaiting || len(h.waiting[app]) >= maxHashWaitingOfApp {
		h.mu.Unlock()
		h.busy.Inc()
		return ErrBusy
	}
	turn := make(chan struct{})
	if len(h.waiting[app]) == 0 {
		h.turns = append(h.turns, app)
	}
	h.waiting[app] = append(h.waiting[app], turn)
	h.n++
	h.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	if !h.giveUp(app, turn) {
		h.leave() // it came at the same moment
	}
	h.busy.Inc()
	return ErrBusy
}

// giveUp takes one who waits out of the queue; false if their turn has come.
func (h *hasher) giveUp(app string, turn chan struct{}) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.Index(h.waiting[app], turn)
	if i < 0 {
		return false
	}
	h.n--
	if h.waiting[app] = slices.Delete(h.waiting[app], i, i+1); len(h.waiting[app]) == 0 {
		delete(h.waiting, app)
		h.turns = slices.DeleteFunc(h.turns, func(other string) bool { return other == app })
	}
	return true
}

// leave gives the turn to the next app's.
func (h *hasher) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.turns) == 0 {
		h.free++
		return
	}
	app := h.turns[0]
	h.turns = slices.Delete(h.turns, 0, 1)
	line := h.waiting[app]
	close(line[0])
	h.n--
	if line = line[1:]; len(line) == 0 {
		delete(h.waiting, app)
	} else {
		h.waiting[app] = line
		h.turns = append(h.turns, app)
	}
}

func (h *hasher) hash(ctx context.Context, app, password string) (string, error) {
	if err := h.enter(ctx, app); err != nil {
		return "", err
	}
	defer h.leave()
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	return encodeHash(salt, argon2.IDKey([]byte(password), salt, hashTime, hashMemoryKiB, hashThreads, hashBytes)), nil
}

// encodeHash writes the usual text of an Argon2 hash.
func encodeHash(salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, hashMemoryKiB, hashTime, hashThreads, b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// storedHash is a hash as its text says.
type storedHash struct {
	memory, passes uint32
	threads        uint8
	salt, sum      []byte
}

// parseHash reads the text of a hash. What it may cost to compare a password with it is bounded.
func parseHash(encoded string) (x storedHash, err error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return x, errBadHash
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return x, errBadHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &x.memory, &x.passes, &x.threads); err != nil ||
		x.passes < 1 || x.passes > maxHashTime || x.threads < 1 || x.memory > maxHashMemoryKiB {
		return x, errBadHash
	}
	var saltErr, sumErr error
	x.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	x.sum, sumErr = base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || sumErr != nil || len(x.sum) == 0 {
		return x, errBadHash
	}
	return x, nil
}

// matches reports whether the hash was made from the password.
func (h *hasher) matches(ctx context.Context, app, encoded, password string) (bool, error) {
	x, err := parseHash(encoded)
	if err != nil {
		return false, err
	}
	if err := h.enter(ctx, app); err != nil {
		return false, err
	}
	defer h.leave()
	guess := argon2.IDKey([]byte(password), x.salt, x.passes, x.memory, x.threads, uint32(len(x.sum)))
	return subtle.ConstantTimeCompare(guess, x.sum) == 1, nil
}
