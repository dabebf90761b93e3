package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// Secret is a text that guesses are compared with in constant time: the comparison is of hashes,
// which have one length whatever is guessed.
type Secret [sha256.Size]byte

// NewSecret makes a Secret of its text.
func NewSecret(s string) Secret { return sha256.Sum256([]byte(s)) }

// Matches reports whether the guess is the secret's text.
func (s Secret) Matches(guess string) bool {
	sum := sha256.Sum256([]byte(guess))
	return subtle.ConstantTimeCompare(s[:], sum[:]) == 1
}

// Bearer returns the token of the Authorization header; ok is false if there is none.
func Bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// Authenticator finds out who presents a bearer: the admin key or a user token.
type Authenticator struct {
	adminKey Secret
	tokens   *Tokens
}

// NewAuthenticator makes an Authenticator. The admin key must not be empty, since an empty one
// would open everything to everybody.
func NewAuthenticator(adminKey string, tokens *Tokens) *Authenticator {
	return &Authenticator{adminKey: NewSecret(adminKey), tokens: tokens}
}

// Authenticate returns the caller that the bearer proves. The errors are those of [Tokens.Verify].
func (a *Authenticator) Authenticate(bearer string) (Caller, error) {
	if a.adminKey.Matches(bearer) {
		return Caller{Admin: true}, nil
	}
	return a.tokens.Verify(bearer)
}
