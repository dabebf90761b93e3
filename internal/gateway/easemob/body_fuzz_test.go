package easemob

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/accounts"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// fuzzWorld stands for the layers below: an app in which anybody may register, a group of ann's,
// and accounts that take what they are given and hold that it was looked at.
type fuzzWorld struct {
	State
	Accounts
	t       *testing.T
	consent bool
	events  int
}

const fuzzMembers = 50

func (w *fuzzWorld) FindApp(string) (s events.Settings, revision uint64, err error) {
	s = events.DefaultSettings()
	s.OpenRegistration = true
	if w.consent {
		s.Invitations = events.InvitationsConsent
	}
	return s, 1, nil
}

func (w *fuzzWorld) Group(_, group string) (projections.Group, error) {
	if group != "1" {
		return projections.Group{}, projections.ErrNotFound
	}
	return projections.Group{Owner: "ann", Members: []projections.GroupMember{{User: "ann", Role: events.RoleOwner}, {User: "bob", Role: events.RoleMember}}}, nil
}

func (w *fuzzWorld) IsMember(_, group, user string) (bool, error) {
	return group == "1" && (user == "ann" || user == "bob"), nil
}

func (w *fuzzWorld) Knows(_, user string) (bool, error) { return user == "bob", nil }

func (w *fuzzWorld) Outcomes(context.Context, int, uint64) ([]events.Outcome, error) {
	return make([]events.Outcome, w.events), nil
}

func (w *fuzzWorld) Submit(_ context.Context, list []events.Event) (*eventlog.Ticket, error) {
	at := make([]eventlog.Location, len(list))
	for i := range list {
		if err := list[i].Validate(); err != nil || list[i].App != "acme#chat" {
			w.t.Errorf("an event of app %q is submitted, %v: %+v", list[i].App, err, list[i])
		}
		at[i] = eventlog.Location{Sequence: 1, Index: i}
	}
	if w.events = len(list); w.events > maxUsersPerCall || len(list[0].Members) > fuzzMembers {
		w.t.Errorf("%d events, with %d members", w.events, len(list[0].Members))
	}
	return eventlog.NewTicket(at, nil), nil
}

// fuzzAccounts are the accounts of a world, which has a method of a group's name already.
type fuzzAccounts struct{ *fuzzWorld }

func (w fuzzAccounts) name(names ...string) {
	for _, name := range names {
		if problem := events.IDProblem(name); problem != "" {
			w.t.Errorf("%q reaches the accounts: %s", name, problem)
		}
	}
}

func (w fuzzAccounts) Register(_ context.Context, _, user, _, nickname string) error {
	if w.name(user); strings.ToLower(user) != user || nameProblem(user) != "" || len(nickname) > maxNickname {
		w.t.Errorf("a stranger registers %q as %q", user, nickname)
	}
	return nil
}

func (w fuzzAccounts) RegisterReserved(_ context.Context, _, user, _, nickname string) error {
	if w.name(user); len(nickname) > maxNickname {
		w.t.Errorf("%q is registered as %q", user, nickname)
	}
	return nil
}

func (w fuzzAccounts) Has(_ context.Context, _, user string) (bool, error) {
	w.name(user)
	return false, nil
}

func (w fuzzAccounts) Check(_ context.Context, _, user, _ string) error {
	w.name(user)
	return accounts.ErrWrongPassword
}

func (w fuzzAccounts) ClaimGroup(_ context.Context, _, _, group string, p accounts.GroupProfile) error {
	if w.name(group); len(p.Name)+len(p.Description)+len(p.Custom) > maxProfileText {
		w.t.Errorf("a profile of %d bytes", len(p.Name)+len(p.Description)+len(p.Custom))
	}
	return nil
}

func (w fuzzAccounts) Group(context.Context, string, string) (accounts.GroupProfile, error) {
	return accounts.GroupProfile{AllowInvites: true}, nil
}

func (w fuzzAccounts) Invite(_ context.Context, _ string, x accounts.Invitation, _ time.Duration) error {
	w.name(x.Group, x.User, x.Inviter)
	return nil
}

func (w fuzzAccounts) Banned(_ context.Context, _, group, user string) (bool, error) {
	w.name(group, user)
	return false, nil
}

func (fuzzAccounts) DropGroup(context.Context, string, string, string) error { return nil }
func (fuzzAccounts) Unban(context.Context, string, string, string) error     { return nil }

func (fuzzAccounts) DropInvitation(context.Context, string, string, string) error { return nil }

func (fuzzAccounts) Invitation(_ context.Context, _, group, user string, _ time.Duration) (accounts.Invitation, error) {
	return accounts.Invitation{Group: group, User: user, Inviter: "ann"}, nil
}

type fuzzIDs struct{}

func (fuzzIDs) Next() uint64 { return 2 }

// FuzzSDKBody: whatever the body of one of the SDK's calls is, and whoever sends it, it is answered
// with an object, and never as if the server had failed; what reaches accounts and log is valid and
// within its limits.
func FuzzSDKBody(f *testing.F) {
	for call := range uint8(6) {
		for _, text := range []string{
			`{"grant_type":"password","username":"Ann","password":"x"}`, `{"username":"ÄNN","password":"x","nickname":"n"}`, `{"username":"a\u0000"}`,
			`{"groupname":"g","owner":"ann","members":["bob","bob",""],"maxusers":-1,"public":true}`, `{"members":["\ud800"],"maxusers":1e9}`, `{"members":[null]}`,
			`{"usernames":["eve","bob"]}`, `{"usernames":[""]}`, `{"usernames":null}`, `{"invitee":"bob","verifyResult":true}`, `{"invitee":7}`,
			`{"newadmin":"bob"}`, `{"newadmin":""}`, `null`, `[]`, ``, `{`, `7`, `{"desc":"` + strings.Repeat("x", maxProfileText+1) + `"}`,
		} {
			for who := range uint8(4) {
				f.Add(call, who, []byte(text))
			}
		}
	}
	tokens, err := gateway.NewTokens(make([]byte, gateway.MinTokenKeyBytes), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	bearers := []string{"", "admin"}
	for _, user := range []string{"ann", "bob"} {
		token, _, err := tokens.Mint("acme#chat", user, time.Hour)
		if err != nil {
			f.Fatal(err)
		}
		bearers = append(bearers, token)
	}
	paths := []string{"/token", "/users", "/chatgroups", "/chatgroups/1/invite", "/chatgroups/1/invite_verify", "/chatgroups/1/admin"}
	f.Fuzz(func(t *testing.T, call, who uint8, body []byte) {
		w := &fuzzWorld{t: t, consent: who&4 != 0}
		h := New(Config{
			State: w, Log: w, Accounts: fuzzAccounts{w}, IDs: fuzzIDs{}, Tokens: tokens, AdminKey: "admin", Logger: slog.New(slog.DiscardHandler),
			Limits:     Limits{RequestsPerUser: 10, RequestsPerAddress: 10, InvitesPerUser: 1000, InvitesPerApp: 1000, GroupMembers: fuzzMembers},
			Registerer: prometheus.NewRegistry(),
		})
		r := httptest.NewRequest("POST", "/acme/chat"+paths[int(call)%len(paths)], bytes.NewReader(body))
		if bearer := bearers[who%4]; bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		var object map[string]any
		if err := json.Unmarshal(answer.Body.Bytes(), &object); err != nil || answer.Code >= 500 {
			t.Errorf("%s %q: %d %s", r.URL.Path, body, answer.Code, answer.Body)
		}
	})
}
