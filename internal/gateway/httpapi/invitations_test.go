package httpapi

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// fakeInvitations knows one group, g1, whose owner is alice, and into which invited are invited.
type fakeInvitations struct {
	invited []string
	err     error // of answers
	was     string
}

func (f *fakeInvitations) page(after string, limit int) (page gateway.InvitationPage, err error) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, user := range f.invited {
		switch {
		case user <= after:
		case len(page.Invitations) == limit:
			page.Next = page.Invitations[limit-1].User
			return page, nil
		default:
			page.Invitations = append(page.Invitations, gateway.Invitation{
				Group: "g1", GroupName: "team", User: user, Inviter: "alice", At: at, Expires: at.Add(time.Hour),
			})
		}
	}
	return page, nil
}

func (f *fakeInvitations) InvitationsOf(_ context.Context, _ gateway.Caller, _, _, after string, limit int) (gateway.InvitationPage, error) {
	return f.page(after, limit)
}

func (f *fakeInvitations) AnswerInvitation(_ context.Context, _ gateway.Caller, app, group, user string, agrees bool) error {
	f.was = fmt.Sprint(app, " ", group, " ", user, " ", agrees)
	return f.err
}

func (f *fakeInvitations) may(c gateway.Caller, group string) error {
	switch {
	case group != "g1":
		return projections.ErrNotFound
	case c.User == "carol":
		return gateway.ErrDenied
	case !c.Admin && c.User != "alice":
		return gateway.ErrNotMember
	}
	return nil
}

func (f *fakeInvitations) InvitationsInto(_ context.Context, c gateway.Caller, _, group, after string, limit int) (gateway.InvitationPage, error) {
	if err := f.may(c, group); err != nil {
		return gateway.InvitationPage{}, err
	}
	return f.page(after, limit)
}

func (f *fakeInvitations) WithdrawInvitation(_ context.Context, c gateway.Caller, app, group, user string) error {
	f.was = fmt.Sprint(app, " ", group, " ", user)
	if err := f.may(c, group); err != nil {
		return err
	}
	return f.err
}

// Invitations are listed page by page, answered by those who were invited and withdrawn by those
// who may, and everybody else is told what they would be told if there were none.
func TestInvitations(t *testing.T) {
	f := &fakeInvitations{invited: []string{"bob", "carol", "dan"}}
	h := newHarness(t, func(c *Config) { c.Invitations = f })
	bob, alice := h.token("bob"), h.token("alice")
	get := func(path, token string, status int, code string) answer {
		t.Helper()
		return h.want(request{method: "GET", path: base + path, token: token}, status, code)
	}
	users := func(a answer) string {
		var list []any
		for _, x := range a.field(t, "invitations").([]any) {
			list = append(list, x.(map[string]any)["user"])
		}
		return fmt.Sprint(list)
	}
	for path, token := range map[string]string{"/users/bob/invitations": bob, "/groups/g1/invitations": alice} {
		a := get(path+"?limit=2", token, 200, "")
		cursor := fmt.Sprint(a.field(t, "next_cursor"))
		if users(a) != "[bob carol]" || !strings.Contains(string(a.body), `"expires_at":"2026-03-01T13:00:00.000Z"`) {
			t.Errorf("%s", a.body)
		}
		a = get(path+"?limit=2&cursor="+cursor, token, 200, "")
		if users(a) != "[dan]" || a.field(t, "next_cursor") != "" {
			t.Errorf("%s", a.body)
		}
		h.want(request{method: "GET", path: base + path + "?limit=101", token: token, wrong: true}, 400, "invalid_request")
		other := "/groups/g1/invitations"
		if path == other {
			other = "/users/alice/invitations"
		}
		get(other+"?cursor="+cursor, "", 400, "invalid_cursor")
	}
	get("/users/bob/invitations", alice, 403, "forbidden")
	get("/groups/g1/invitations", bob, 404, "group_not_found")
	get("/groups/g1/invitations", h.token("carol"), 403, "forbidden")
	get("/groups/g9/invitations", alice, 404, "group_not_found")

	post := func(body, token string, status int, code string) {
		t.Helper()
		h.want(request{method: "POST", path: base + "/users/bob/invitations/g1", token: token, body: body, wrong: code == "invalid_request"}, status, code)
	}
	post(`{"accept":true}`, bob, 200, "")
	if f.was != testApp+" g1 bob true" {
		t.Errorf("accepted %s", f.was)
	}
	post(`{"accept":false}`, bob, 200, "")
	if f.was != testApp+" g1 bob false" {
		t.Errorf("declined %s", f.was)
	}
	f.was = ""
	post(`{}`, bob, 400, "invalid_request")
	post(`{"accept":null}`, bob, 400, "invalid_request")
	post(`{"accept":true}`, alice, 403, "forbidden")
	if f.was != "" {
		t.Errorf("answered %s", f.was)
	}
	for err, want := range map[error]struct {
		status int
		code   string
	}{
		gateway.ErrNotInvited: {404, "invitation_not_found"}, gateway.ErrGroupFull: {409, "group_full"}, gateway.ErrTooOften: {429, "rate_limited"},
	} {
		f.err = err
		post(`{"accept":true}`, bob, want.status, want.code)
	}
	withdraw := func(token string, status int, code string) {
		t.Helper()
		h.want(request{method: "DELETE", path: base + "/groups/g1/invitations/bob", token: token}, status, code)
	}
	f.err = nil
	withdraw(alice, 200, "")
	if f.was != testApp+" g1 bob" {
		t.Errorf("withdrawn %s", f.was)
	}
	withdraw(bob, 404, "group_not_found")
	f.err = gateway.ErrNotInvited
	withdraw("", 404, "invitation_not_found")
}
