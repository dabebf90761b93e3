package gateway

import (
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/receiptd/receiptd/events"
)

// Errors of [Tokens.Verify].
var (
	ErrTokenExpired = errors.New("gateway: token expired")
	errBadToken     = errors.New("gateway: bad token")
)

// MinTokenKeyBytes is the least length of a key for user tokens: the output size of the hash it
// keys.
const MinTokenKeyBytes = 32

// Tokens makes and checks user tokens: JWTs signed with HMAC-SHA-256. A token says which user of
// which app its bearer is, and until when. It is stored nowhere, and cannot be revoked before it
// expires.
type Tokens struct {
	key    []byte
	now    func() time.Time
	parser *jwt.Parser
}

// NewTokens makes Tokens with a key of at least [MinTokenKeyBytes]. now is the clock, usually
// time.Now.
func NewTokens(key []byte, now func() time.Time) (*Tokens, error) {
	if len(key) < MinTokenKeyBytes {
		return nil, errors.New("gateway: the key for user tokens is too short")
	}
	return &Tokens{key: key, now: now, parser: jwt.NewParser(
		// Named, so that no token can choose how it is checked ("none", or a public key taken for a
		// secret).
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(), // else a signature's last character could be another one
		jwt.WithTimeFunc(now),
	)}, nil
}

type tokenClaims struct {
	App string `json:"app"`
	jwt.RegisteredClaims
}

// Mint makes a token for a user that is valid for ttl from now, rounded down to whole seconds.
func (t *Tokens) Mint(app, user string, ttl time.Duration) (token string, expires time.Time, err error) {
	expires = t.now().Add(ttl).Truncate(time.Second)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, tokenClaims{
		App:              app,
		RegisteredClaims: jwt.RegisteredClaims{Subject: user, ExpiresAt: jwt.NewNumericDate(expires)},
	}).SignedString(t.key)
	return token, expires, err
}

// Verify checks a token's signature and expiry, and returns the user it stands for. The error is or
// wraps [ErrTokenExpired] or errBadToken.
func (t *Tokens) Verify(token string) (Caller, error) {
	var claims tokenClaims
	_, err := t.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return Caller{}, ErrTokenExpired
	case err != nil:
		return Caller{}, errors.Join(errBadToken, err)
	}
	if _, _, err := events.SplitAppKey(claims.App); err != nil || events.IDProblem(claims.Subject) != "" {
		return Caller{}, errBadToken
	}
	return Caller{App: claims.App, User: claims.Subject, Expires: claims.ExpiresAt.Time}, nil
}
