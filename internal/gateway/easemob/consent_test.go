package easemob_test

import (
	"fmt"
	"testing"
)

// Where an app asks for consent nobody is in a group who has not agreed.
func TestInvitationsWaitForConsent(t *testing.T) {
	s := startServer(t)
	s.configure("acme/chat", `{"invitations":"consent"}`)
	ann, ben, mallory := s.login("ann"), s.login("ben"), s.login("mallory")
	members := func(g, want string) {
		t.Helper()
		if got := fmt.Sprint(s.want(200, "", "GET", g+"/users", ann, "").field("data")); got != want {
			t.Fatalf("members %s, want %s", got, want)
		}
	}
	verify := func(status int, g, token, user string, agrees bool) {
		t.Helper()
		s.want(status, "", "POST", g+"/invite_verify?resource=x", token, fmt.Sprintf(`{"invitee":%q,"verifyResult":%v}`, user, agrees))
	}
	g := s.create(ann, `{"groupname":"x","members":["ben","cleo"],"maxusers":3}`)
	members(g, "[map[owner:ann]]")
	verify(404, g, mallory, "mallory", true)
	verify(403, g, mallory, "ben", true)
	verify(200, g, ben, "ben", true)
	members(g, "[map[owner:ann] map[member:ben]]")
	verify(404, g, ben, "ben", true) // it is answered once
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":["mallory"]}`)
	members(g, "[map[owner:ann] map[member:ben]]")
	verify(200, g, mallory, "mallory", false)
	verify(404, g, mallory, "mallory", true)

	s.want(200, "", "DELETE", g+"/users/ben", ann, "")
	verify(404, g, ben, "ben", true)
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":["ben"]}`)
	verify(200, g, ben, "ben", true)
	members(g, "[map[owner:ann] map[member:ben]]")

	// The backend does without.
	s.want(200, "", "POST", g+"/invite", adminKey, `{"usernames":["mallory"]}`)
	members(g, "[map[owner:ann] map[member:ben] map[member:mallory]]")
	if a := s.call("PUT", "/v1/apps/acme/chat", adminKey, `{"invitations":"sometimes"}`); a.status != 400 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
