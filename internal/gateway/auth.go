package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
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
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// Authenticator finds out who presents a bearer: the admin key or a user token.
type Authenticator struct {
	adminKey KeyHash
	tokens   *Tokens
}

// NewAuthenticator makes an Authenticator. The admin key must not be empty, since an empty one
// would open everything to everybody.
func NewAuthenticator(adminKey string, tokens *Tokens) *Authenticator {
	return &Authenticator{adminKey: HashKey(adminKey), tokens: tokens}
}

// Authenticate returns the caller that the bearer proves. The errors are those of [Tokens.Verify].
func (a *Authenticator) Authenticate(bearer string) (Caller, error) {
	if a.adminKey.Matches(bearer) {
		return Caller{Admin: true}, nil
	}
	return a.tokens.Verify(bearer)
}
