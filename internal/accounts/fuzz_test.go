package accounts

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// FuzzHash: whatever is stored as a hash, it is refused, or asks for no more memory and time than
// is allowed and says the same when it is written again.
func FuzzHash(f *testing.F) {
	f.Add(nobody)
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$AA$AA")
	f.Add("$argon2id$v=19$m=8,t=1,p=255$$AA")
	f.Add("$argon2i$v=19$m=8,t=1,p=1$AA$AA")
	f.Fuzz(func(t *testing.T, encoded string) {
		x, err := parseHash(encoded)
		if err != nil {
			return
		}
		if x.memory > maxHashMemoryKiB || x.passes < 1 || x.passes > maxHashTime || x.threads < 1 || len(x.sum) == 0 || len(x.sum) > len(encoded) {
			t.Errorf("%q: %+v", encoded, x)
		}
		b64 := base64.RawStdEncoding
		text := fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, x.memory, x.passes, x.threads, b64.EncodeToString(x.salt), b64.EncodeToString(x.sum))
		again, err := parseHash(text)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(x) {
			t.Errorf("%q is written as %q, which is %+v, %v", encoded, text, again, err)
		}
	})
}

// FuzzInvitation: whatever key an invitation is looked for under, it is none, or has the names that
// make the key again, by which it is removed.
func FuzzInvitation(f *testing.F) {
	f.Add(invites("acme#chat", "ann", "g1", "ben"))
	f.Add(invites("acme#chat", "ann", "", "ben"))
	f.Add("invites.YQ.YQ.YQ.YR")
	f.Add("invites.YQ.YQ..YQ")
	f.Add("users.YQ.YQ.YQ.YQ")
	f.Fuzz(func(t *testing.T, key string) {
		at := time.Unix(1_700_000_000, 0)
		x, err := parseInvitation(key, at)
		if err != nil {
			if x != (Invitation{}) {
				t.Errorf("%q: %+v beside %v", key, x, err)
			}
			return
		}
		_, rest, _ := strings.Cut(key, ".")
		app, _, _ := strings.Cut(rest, ".")
		name, err := base64.RawURLEncoding.DecodeString(app)
		if err != nil || encode(string(name)) != app || len(name) == 0 {
			return // no app has it
		}
		if again := invites(string(name), x.User, x.Group, x.Inviter); again != key || !x.At.Equal(at) {
			t.Errorf("%q is %+v, which is kept under %q", key, x, again)
		}
	})
}
