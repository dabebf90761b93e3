package gateway

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// FuzzToken: whatever bearer comes, it is refused, or stands for the one user that a token was
// minted for, until the time that was said. Nobody becomes the admin by it.
func FuzzToken(f *testing.F) {
	now := time.Unix(1_700_000_000, 0)
	tokens, err := NewTokens(bytes.Repeat([]byte("k"), MinTokenKeyBytes), func() time.Time { return now })
	if err != nil {
		f.Fatal(err)
	}
	good, expires, err := tokens.Mint(app, "ann", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(strings.Replace(good, ".", "..", 1))
	// {"alg":"none"} and {"alg":"HS512"}.
	f.Add("eyJhbGciOiJub25lIn0." + strings.Split(good, ".")[1] + ".")
	f.Add("eyJhbGciOiJIUzUxMiJ9." + strings.Join(strings.Split(good, ".")[1:], "."))
	a := NewAuthenticator("the-admin-key", tokens)
	f.Fuzz(func(t *testing.T, bearer string) {
		caller, err := a.Authenticate(bearer, "192.0.2.1:1")
		switch {
		case err != nil:
			if caller != (Caller{}) || !errors.Is(err, errBadToken) && !errors.Is(err, ErrTokenExpired) {
				t.Errorf("%q: %+v, %v", bearer, caller, err)
			}
		case caller.Admin && bearer != "the-admin-key":
			t.Errorf("%q is the admin", bearer)
		case !caller.Admin && (caller.App != app || caller.User != "ann" || !caller.Expires.Equal(expires)):
			t.Errorf("%q: %+v", bearer, caller)
		}
	})
}
