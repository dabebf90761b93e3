package easemob_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
)

const groups = "/acme/chat/chatgroups"

// create makes a group and returns its path.
func (s *server) create(token, body string) string {
	s.t.Helper()
	id, _ := s.want(200, "", "POST", groups, token, body).field("data", "groupid").(string)
	return groups + "/" + id
}

// names are those of n users, as JSON.
func names(prefix string, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%q", fmt.Sprint(prefix, i))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func TestGroupsOfAUserAndTheirMembersAreBounded(t *testing.T) {
	s := startServer(t, func(c *config.Config) {
		c.SDK.GroupsPerUser, c.SDK.GroupsPerApp, c.SDK.GroupMembers, c.SDK.InvitesPerUser, c.SDK.InvitesPerApp = 2, 5, 10, 25, 40
	})
	ann, ben, cleo := s.login("ann"), s.login("ben"), s.login("cleo")
	s.want(403, "group is full", "POST", groups, ann, `{"groupname":"x","members":`+names("u", 10)+`}`)
	s.want(403, "group is full", "POST", groups, ann, `{"groupname":"x","maxusers":4,"members":`+names("u", 4)+`}`)
	g := s.create(ann, `{"groupname":"x","members":`+names("u", 5)+`}`)
	s.want(403, "group is full", "POST", g+"/invite", ann, `{"usernames":`+names("v", 5)+`}`)
	// Whoever is in it already takes nothing.
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":`+names("u", 5)+`}`)
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":`+names("v", 4)+`}`)
	s.create(ann, `{"groupname":"y","members":`+names("u", 9)+`}`)
	s.want(403, "no more groups can be made", "POST", groups, ann, `{"groupname":"z","members":[]}`)
	s.want(200, "", "DELETE", g, ann, "")
	if a := s.want(429, "This request has reached api limit", "POST", groups, ann, `{"groupname":"z","members":`+names("u", 9)+`}`); a.header.Get("Retry-After") == "" {
		t.Error("nothing says when to come back")
	}
	s.create(ann, `{"groupname":"z","members":[]}`)

	// The app has 40 an hour, of which ann has taken 18.
	s.create(ben, `{"groupname":"x","members":`+names("u", 9)+`}`)
	s.create(ben, `{"groupname":"x","members":`+names("u", 9)+`}`)
	s.want(429, "", "POST", groups, cleo, `{"groupname":"x","members":`+names("u", 9)+`}`)
	s.create(cleo, `{"groupname":"x","members":[]}`)
	s.want(403, "no more groups can be made", "POST", groups, s.login("dan"), `{"groupname":"x","members":[]}`)
	// The backend is not rationed.
	s.create(adminKey, `{"owner":"backend","groupname":"x","members":`+names("u", 9)+`}`)
}

// Invitations at the same time do not overfill a group.
func TestInvitationsRespectTheSizeOfAGroup(t *testing.T) {
	s := startServer(t)
	ann := s.login("ann")
	g := s.create(ann, `{"groupname":"x","members":[],"public":true,"allowinvites":true,"maxusers":10}`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() { s.call("POST", g+"/invite", ann, `{"usernames":`+names(fmt.Sprint("u", i, "-"), 3)+`}`) })
	}
	wg.Wait()
	if got := s.want(200, "", "GET", g, ann, "").field("data", 0, "affiliations_count"); got != 10.0 {
		t.Errorf("%v members, want 10", got)
	}
}

// Whoever was removed from a group comes back only when the owner or an admin has them back.
func TestRemovedMembersDoNotRejoin(t *testing.T) {
	s := startServer(t)
	ann, ben, mallory := s.login("ann"), s.login("ben"), s.login("mallory")
	g := s.create(ann, `{"groupname":"x","members":["ben","mallory"],"public":true,"approval":false,"allowinvites":true,"maxusers":10}`)
	s.want(200, "", "DELETE", g+"/quit", mallory, "")
	s.want(200, "", "POST", g+"/apply", mallory, `{}`) // who left by themselves may
	s.want(200, "", "DELETE", g+"/users/mallory", ann, "")
	s.want(403, "permission denied", "POST", g+"/apply", mallory, `{}`)
	s.want(403, "permission denied", "POST", g+"/invite", ben, `{"usernames":["mallory"]}`)
	s.want(200, "", "POST", g+"/invite", ann, `{"usernames":["mallory"]}`)
	s.want(200, "", "DELETE", g+"/quit", mallory, "")
	s.want(200, "", "POST", g+"/apply", mallory, `{}`)
}

// Calls are rationed by user and by address, in the vendor's form; one who calls too often takes
// nothing from others.
func TestCallsAreRationed(t *testing.T) {
	s := startServer(t, func(c *config.Config) { c.SDK.RequestsPerUser, c.SDK.RequestsPerAddress = 1, 4 })
	ann, ben := s.login("ann"), s.login("ben")
	flood := func(token string) (refused int) {
		for range 25 {
			if a := s.call("GET", "/acme/chat/users/x/joined_chatgroups", token, ""); a.status == 429 {
				refused++
				if a.field("error") != "reach_limit" || a.header.Get("Retry-After") == "" {
					t.Fatalf("%s", a.body)
				}
			}
		}
		return refused
	}
	if n := flood(ann); n == 0 {
		t.Error("a user calls as often as they like")
	}
	if a := s.call("GET", "/acme/chat/users/ben/joined_chatgroups", ben, ""); a.status != 200 {
		t.Errorf("another user: %d %s", a.status, a.body)
	}
	refused := 0
	for range 300 {
		if s.call("POST", "/acme/chat/token", "", `{}`).status == 429 {
			refused++
		}
	}
	if refused == 0 {
		t.Error("an address calls as often as it likes")
	}
}
