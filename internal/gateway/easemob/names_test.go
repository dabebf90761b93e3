package easemob_test

import (
	"fmt"
	"testing"
)

// Strangers register no name that looks like another one.
func TestLookAlikeNamesAreRefused(t *testing.T) {
	s := startServer(t)
	register := func(status int, token, name string) {
		t.Helper()
		a := s.call("POST", "/acme/chat/users", token, fmt.Sprintf(`{"username":%q,"password":"pw"}`, name))
		if a.status != status {
			t.Errorf("%+q: %d %s, want %d", name, a.status, a.body, status)
		}
	}
	register(200, "", "ann")
	for _, name := range []string{"ann\u200b", "\u2060ann", "a\u00adnn", "ann ", " ann", "\u00a0ann", "\u202enna", "an\u200dn", "\uff41nn", "ann\ufeff", "\u3164ann", ".", ".."} {
		register(400, "", name)
	}
	register(400, "", "Ann") // is ann
	register(200, "", "Mixed")
	register(400, "", "mixed")
	register(200, "", "müller")
	register(200, "", "安娜")
	for _, name := range []string{"mixed", "MIXED"} {
		a := s.want(200, "", "POST", "/acme/chat/token", "", fmt.Sprintf(`{"grant_type":"password","username":%q,"password":"pw"}`, name))
		if a.field("user", "username") != "mixed" {
			t.Errorf("%s logs in as %s", name, a.body)
		}
	}
	// The backend names its users as it likes.
	register(200, adminKey, "Backend")
	if a := s.want(200, "", "POST", "/acme/chat/token", "", `{"grant_type":"password","username":"Backend","password":"pw"}`); a.field("user", "username") != "Backend" {
		t.Errorf("%s", a.body)
	}
}
