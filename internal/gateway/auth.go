package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// KeyHash is a key with which guesses are compared in constant time: what is compared are hashes,
// which have one length whatever is guessed.
type KeyHash [sha256.Size]byte

// HashKey makes the KeyHash of a key.
func HashKey(key string) KeyHash { return sha256.Sum256([]byte(key)) }

// Matches reports whether the guess is the key.
func (h KeyHash) Matches(guess string) bool {
	sum := HashKey(guess)
	return subtle.ConstantTimeCompare(h[:], sum[:]) == 1
}

// Bearer returns the token of the Authorization header; ok is false if there is none.
func Bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !ok || token == "" || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, true
}

const (
	// guessesAtOnce wrong keys may come from an address, and then guessesPerSecond.
	guessesAtOnce    = 200
	guessesPerSecond = 1
	// keptKnown is how long an address is known that presented the admin key.
	keptKnown = time.Hour
	// maxKnown bounds the addresses that are known; beyond it they are forgotten.
	maxKnown = 4096
)

// ErrGuessing: too many bearers from this address were neither the admin key nor a user token.
var ErrGuessing = errors.New("gateway: too many wrong keys from this address")

// Authenticator finds out who presents a bearer: the admin key or a user token. An address from
// which wrong ones come by the hundred is not told which is right, unless the right one came from
// it lately: a backend is not locked out by others behind the same proxy. User tokens, which cannot
// be guessed, are always taken.
type Authenticator struct {
	adminKey KeyHash
	tokens   *Tokens
	guesses  *Throttle

	mu    sync.Mutex
	known map[string]time.Time // addresses by when they presented the admin key
}

// NewAuthenticator makes an Authenticator. The admin key must not be empty, since an empty one
// would open everything to everybody.
func NewAuthenticator(adminKey string, tokens *Tokens) *Authenticator {
	return &Authenticator{
		adminKey: HashKey(adminKey), tokens: tokens, guesses: NewThrottle(guessesPerSecond, guessesAtOnce), known: make(map[string]time.Time),
	}
}

// Authenticate returns the caller that the bearer proves, which came from an address as in
// [http.Request.RemoteAddr]. It fails as [Tokens.Verify] does, and with [ErrGuessing].
func (a *Authenticator) Authenticate(bearer, remote string) (Caller, error) {
	if a.adminKey.Matches(bearer) {
		return a.admin(Address(remote))
	}
	caller, err := a.tokens.Verify(bearer)
	if err != nil && !errors.Is(err, ErrTokenExpired) {
		if _, ok := a.guesses.Take(Address(remote), 1); !ok {
			return Caller{}, ErrGuessing
		}
	}
	return caller, err
}

// admin lets the admin key in, but from an address that has guessed too much.
func (a *Authenticator) admin(from string) (Caller, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.guesses.now()
	if now.Sub(a.known[from]) < keptKnown {
		return Caller{Admin: true}, nil
	}
	if _, ok := a.guesses.Take(from, 1); !ok {
		return Caller{}, ErrGuessing
	}
	a.guesses.Give(from, 1)
	if len(a.known) >= maxKnown {
		clear(a.known)
	}
	a.known[from] = now
	return Caller{Admin: true}, nil
}
