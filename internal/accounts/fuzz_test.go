package accounts

import (
	"encoding/base64"
	"encoding/json"
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

// FuzzAccount: whatever is stored of a user, it is refused, or says the same when it is stored
// again. A name that waits for a password is one that was reserved at some time.
func FuzzAccount(f *testing.F) {
	f.Add([]byte(`{"hash":"$argon2id$","nickname":"Ann","created":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"hash":"","created":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"hash":""}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := parseAccount(text)
		if err != nil {
			return
		}
		if x.Created.IsZero() {
			t.Errorf("%q: %+v was never made", text, x)
		}
		stored, err := json.Marshal(x)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		again, err := parseAccount(stored)
		if err != nil || again.Hash != x.Hash || again.Nickname != x.Nickname || !again.Created.Equal(x.Created) {
			t.Errorf("%q is stored as %q, which is %+v, %v", text, stored, again, err)
		}
	})
}

// FuzzGroupProfile: whatever is stored of a group, it is refused, or says the same when it is
// stored again.
func FuzzGroupProfile(f *testing.F) {
	f.Add([]byte(`{"name":"g","public":true,"approval":true,"max_users":9}`))
	f.Add([]byte(`{"name":"g","description":"d","custom":"c","allow_invites":true}`))
	f.Add([]byte(`{"max_users":-1}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseGroup(text)
		if err != nil {
			return
		}
		if strings.TrimSpace(string(text)) == "null" {
			t.Errorf("%q is the profile %+v", text, p)
		}
		stored, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := parseGroup(stored); err != nil || again != p {
			t.Errorf("%q is stored as %q, which is %+v, %v", text, stored, again, err)
		}
	})
}
