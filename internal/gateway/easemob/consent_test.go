package easemob_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
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

// waiting lists what an address of the API has of invitations, as inviter>group:user.
func (s *server) waiting(path, token string) (list []string) {
	s.t.Helper()
	a := s.want(200, "", "GET", path, token, "")
	for i := 0; a.field("invitations", i) != nil; i++ {
		at := func(name string) any { return a.field("invitations", i, name) }
		list = append(list, fmt.Sprint(at("inviter"), ">", at("group_name"), ":", at("user")))
	}
	return list
}

const api = "/v1/apps/acme/chat"

// Whoever was invited sees it and answers over the API as with the SDK; whoever may invite sees
// what waits and takes it back; nobody else sees anything.
func TestInvitationsAreSeenAnsweredAndWithdrawn(t *testing.T) {
	s := startServer(t)
	s.configure("acme/chat", `{"invitations":"consent"}`)
	ann, ben, cleo, mallory := s.login("ann"), s.login("ben"), s.login("cleo"), s.login("mallory")
	g := s.create(ann, `{"groupname":"x","members":["ben","cleo"],"maxusers":3,"public":false}`)
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":["dan","eve"]}`)
	id := strings.TrimPrefix(g, groups+"/")
	s.create(cleo, `{"groupname":"y","members":["ben"]}`)
	into, of := api+"/groups/"+id+"/invitations", func(user string) string { return api + "/users/" + user + "/invitations" }
	check := func(path, token, want string) {
		t.Helper()
		if got := s.waiting(path, token); fmt.Sprint(got) != want {
			t.Fatalf("%s: %q, want %s", path, got, want)
		}
	}
	check(of("ben"), ben, "[ann>x:ben cleo>y:ben]")
	check(into, ann, "[ann>x:ben ann>x:cleo ann>x:dan ann>x:eve]")
	s.want(404, "", "GET", into, mallory, "")
	s.want(404, "", "GET", into, ben, "") // not yet in it
	s.want(403, "", "GET", of("ben"), mallory, "")

	s.want(404, "", "POST", of("mallory")+"/"+id, mallory, `{"accept":true}`)
	s.want(200, "", "POST", of("ben")+"/"+id, ben, `{"accept":true}`)
	s.want(404, "", "POST", of("ben")+"/"+id, ben, `{"accept":true}`)
	s.want(403, "", "GET", into, ben, "") // a member is no admin
	s.want(200, "", "POST", of("cleo")+"/"+id, cleo, `{"accept":false}`)
	s.want(404, "", "POST", of("cleo")+"/"+id, cleo, `{"accept":true}`)
	s.want(404, "", "DELETE", into+"/dan", mallory, "")
	s.want(403, "", "DELETE", into+"/dan", ben, "")
	s.want(200, "", "DELETE", into+"/dan", ann, "")
	s.want(404, "", "DELETE", into+"/dan", ann, "")
	s.want(404, "", "POST", of("dan")+"/"+id, s.login("dan"), `{"accept":true}`)
	check(into, ann, "[ann>x:eve]")
	check(of("ben"), ben, "[cleo>y:ben]")

	// A group that has filled up has the invitation wait on.
	s.want(200, "", "POST", g+"/invite", adminKey, `{"usernames":["dan"]}`)
	eve := s.login("eve")
	s.want(409, "", "POST", of("eve")+"/"+id, eve, `{"accept":true}`)
	s.want(403, "group is full", "POST", g+"/invite_verify", eve, `{"invitee":"eve","verifyResult":true}`)
	check(of("eve"), eve, "[ann>x:eve]")
	s.want(200, "", "DELETE", g, ann, "")
	check(of("eve"), eve, "[]")
	s.want(404, "", "GET", into, ann, "")
}

// An invitation ends when the app says so, and those that wait are bounded, with a word for each
// limit; a group that cannot be made leaves nothing.
func TestWaitingInvitationsAreBounded(t *testing.T) {
	s := startServer(t, func(c *config.Config) {
		c.SDK.InvitationsPerGroup, c.SDK.InvitationsPerInvitee, c.SDK.InvitationsPerInviter, c.SDK.GroupsPerUser = 4, 10, 6, 3
	})
	s.configure("acme/chat", `{"invitations":"consent"}`)
	ann, zoe := s.login("ann"), s.login("zoe")
	into := func(g string) string { return api + "/groups/" + strings.TrimPrefix(g, groups+"/") + "/invitations" }
	s.want(403, "too many invitations into this group wait for an answer", "POST", groups, ann, `{"groupname":"x","members":`+names("u", 5)+`}`)
	g := s.create(ann, `{"groupname":"x","members":`+names("u", 3)+`}`)
	if got := s.waiting(into(g), ann); len(got) != 3 {
		t.Errorf("%q", got)
	}
	s.want(403, "too many invitations into this group wait for an answer", "POST", g+"/invite", ann, `{"usernames":["v1","v2"]}`)
	// Whoever waits already takes nothing.
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":`+names("u", 3)+`}`)
	// Of a user who has ten, one inviter has made one.
	s.want(403, "too many invitations wait for this user's answer: u0", "POST", groups, ann, `{"groupname":"y","members":["u0"]}`)
	h := s.create(ann, `{"groupname":"y","members":[]}`)
	a := s.want(200, "", "POST", h+"/invite", ann, `{"usernames":["u0","w0"]}`)
	if a.field("data", 0, "result") != false || a.field("data", 0, "reason") != "too many invitations wait for this user's answer" || a.field("data", 1, "result") != true {
		t.Errorf("%s", a.body)
	}
	s.want(403, "too many of your invitations wait for an answer", "POST", h+"/invite", ann, `{"usernames":["w1","w2","w3"]}`)
	s.create(zoe, `{"groupname":"z","members":["u0"]}`)
	// Groups that could not be made take none of those that ann may make, which are three.
	s.want(200, "", "DELETE", h, ann, "")
	s.create(ann, `{"groupname":"y","members":["w1"]}`)
	s.create(ann, `{"groupname":"z","members":["w2"]}`)
	s.want(403, "no more groups can be made", "POST", groups, ann, `{"groupname":"z","members":[]}`)

	s.configure("acme/chat", `{"invitation_validity":"1s"}`)
	u1 := s.login("u1")
	for deadline := time.Now().Add(time.Minute); len(s.waiting(api+"/users/u1/invitations", u1)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an invitation does not end")
		}
	}
	s.want(404, "do not find this group", "POST", g+"/invite_verify", u1, `{"invitee":"u1","verifyResult":true}`)
	s.configure("acme/chat", `{"invitation_validity":"1h"}`)
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":["u1"]}`)
	s.want(200, "", "POST", g+"/invite_verify", u1, `{"invitee":"u1","verifyResult":true}`)
}

// What was left of an invitation when its user joined does not bring them back once they were
// removed.
func TestRemovedMembersHaveNoInvitationLeft(t *testing.T) {
	s := startServer(t)
	s.configure("acme/chat", `{"invitations":"consent"}`)
	ann, ben := s.login("ann"), s.login("ben")
	g := s.create(ann, `{"groupname":"x","members":["ben"]}`)
	s.want(200, "", "POST", g+"/invite", adminKey, `{"usernames":["ben"]}`) // who need not agree
	if got := s.waiting(api+"/users/ben/invitations", ben); len(got) != 0 {
		t.Errorf("a member is invited: %q", got)
	}
	s.want(200, "", "DELETE", g+"/users/ben", ann, "")
	s.want(404, "", "POST", g+"/invite_verify", ben, `{"invitee":"ben","verifyResult":true}`)
}

// What a crash leaves of an answer is the join in the log and the invitation beside it. The member
// is not listed as invited, and answering again drops what is left.
func TestAnswersThatWereCutOffAreCompleted(t *testing.T) {
	s := startServer(t)
	s.configure("acme/chat", `{"invitations":"consent"}`)
	ann, ben := s.login("ann"), s.login("ben")
	g := s.create(ann, `{"groupname":"x","members":["ben"]}`)
	id := g[strings.LastIndex(g, "/")+1:]
	into := api + "/groups/" + id + "/invitations"
	if got := s.waiting(into, ann); len(got) != 1 {
		t.Fatalf("%q are invited, want ben", got)
	}
	s.want(200, "", "POST", api+"/events?wait=applied", adminKey, fmt.Sprintf(`{"type":"group.joined","group":%q,"user":"ben"}`, id))
	if got := append(s.waiting(into, ann), s.waiting(api+"/users/ben/invitations", ben)...); len(got) != 0 {
		t.Errorf("a member is listed as invited: %q", got)
	}
	verify := func(status int) {
		t.Helper()
		s.want(status, "", "POST", g+"/invite_verify", ben, `{"invitee":"ben","verifyResult":true}`)
	}
	verify(200)
	if got := fmt.Sprint(s.want(200, "", "GET", g+"/users", ann, "").field("data")); got != "[map[owner:ann] map[member:ben]]" {
		t.Errorf("members %s", got)
	}
	verify(404) // nothing is left to answer
}
