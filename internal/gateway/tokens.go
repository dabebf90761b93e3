package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/receiptd/receiptd/events"
)

// caller is who makes a request, as proven by the key or token.
type caller struct {
	admin bool
	// The app and user of a user token, and when it ends.
	tokenApp, user string
	expires        time.Time
}

// Secret is compared in constant time: hashes have one length, whatever is guessed.
type Secret [sha256.Size]byte

// NewSecret makes a Secret of its text.
func NewSecret(s string) Secret { return sha256.Sum256([]byte(s)) }

// Matches reports whether the guess is the secret's text.
func (s Secret) Matches(guess string) bool {
	sum := sha256.Sum256([]byte(guess))
	return subtle.ConstantTimeCompare(s[:], sum[:]) == 1
}

// authenticate finds out who calls.
func (g *Gateway) authenticate(r *http.Request, rt route) (caller, error) {
	token, ok := bearer(r)
	if !ok && rt.endless {
		// A browser's EventSource cannot send headers.
		token = r.URL.Query().Get("access_token")
		ok = token != ""
	}
	switch {
	case !ok:
		return caller{}, errUnauthorized
	case g.adminKey.Matches(token):
		return caller{admin: true}, nil
	}
	claims, err := g.cfg.Tokens.Verify(token)
	switch {
	case errors.Is(err, ErrTokenExpired):
		return caller{}, errTokenExpired
	case err != nil:
		return caller{}, errUnauthorized
	}
	return caller{tokenApp: claims.App, user: claims.User, expires: claims.Expires}, nil
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// Errors of [Tokens.Verify].
var (
	ErrTokenExpired = errors.New("gateway: token expired")
	ErrBadToken     = errors.New("gateway: bad token")
)

// MinTokenKeyBytes is the least length of a key for user tokens: that of the hash it keys.
const MinTokenKeyBytes = 32

// Tokens makes and checks user tokens: JWTs signed with HMAC-SHA-256. A token says which user of
// which app its bearer is, and until when; it is not stored, and cannot be taken back before it expires.
type Tokens struct {
	key    []byte
	now    func() time.Time
	parser *jwt.Parser
}

// Claims is what a token says.
type Claims struct {
	// App is the key of the app, "org#app".
	App, User string
	Expires   time.Time
}

// NewTokens makes Tokens with a key of at least [MinTokenKeyBytes]. now is the clock, usually time.Now.
func NewTokens(key []byte, now func() time.Time) (*Tokens, error) {
	if len(key) < MinTokenKeyBytes {
		return nil, errors.New("gateway: the key for user tokens is too short")
	}
	return &Tokens{key: key, now: now, parser: jwt.NewParser(
		// Named, so that no token can choose how it is checked ("none", or a public key taken for a secret).
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(now),
	)}, nil
}

type tokenClaims struct {
	App string `json:"app"`
	jwt.RegisteredClaims
}

// Mint makes a token for a user, valid for ttl from now. Expiry is in whole seconds.
func (t *Tokens) Mint(app, user string, ttl time.Duration) (token string, expires time.Time, err error) {
	expires = t.now().Add(ttl).Truncate(time.Second)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, tokenClaims{
		App:              app,
		RegisteredClaims: jwt.RegisteredClaims{Subject: user, ExpiresAt: jwt.NewNumericDate(expires)},
	}).SignedString(t.key)
	return token, expires, err
}

// Verify checks signature and expiry. The error is or wraps [ErrTokenExpired] or [ErrBadToken].
func (t *Tokens) Verify(token string) (Claims, error) {
	var claims tokenClaims
	_, err := t.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrTokenExpired
	case err != nil:
		return Claims{}, errors.Join(ErrBadToken, err)
	}
	if _, _, err := events.SplitAppKey(claims.App); err != nil || events.IDProblem(claims.Subject) != "" {
		return Claims{}, ErrBadToken
	}
	return Claims{App: claims.App, User: claims.Subject, Expires: claims.ExpiresAt.Time}, nil
}
