package easemob

import (
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/receiptd/receiptd/events"
)

// tokenTTL is how long a login with a password lasts. A token cannot be revoked; the SDK is told
// when it ends, and renews it.
const tokenTTL = 7 * 24 * time.Hour

const maxNickname = 100

type entity struct {
	Type      string `json:"type"`
	Username  string `json:"username"`
	Activated bool   `json:"activated"`
	Nickname  string `json:"nickname,omitempty"`
}

// postToken logs a user in with their password.
func (h *REST) postToken(c *call) (answer any, err error) {
	var body struct {
		GrantType string `json:"grant_type"`
		Username  string `json:"username"`
		Password  string `json:"password"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if body.GrantType != "password" {
		return nil, errGrantType
	}
	if events.IDProblem(body.Username) != "" {
		return nil, errLogin
	}
	if body.Username, err = h.nameOf(c, body.Username); err != nil {
		return nil, err
	}
	if err := h.logins.check(c, body.Username, func() error {
		return h.cfg.Accounts.Check(c.ctx, c.app, body.Username, body.Password)
	}); err != nil {
		return nil, err
	}
	token, expires, err := h.cfg.Tokens.Mint(c.app, body.Username, tokenTTL)
	if err != nil {
		return nil, err
	}
	return struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
		User        entity `json:"user"`
	}{token, int64(time.Until(expires).Seconds()), entity{Type: "user", Username: body.Username, Activated: true}}, nil
}

// postUsers registers a user, if the app lets everybody do so or with the admin key. What strangers
// register must be nobody yet: a user of the backend, whom the state knows or who got a token, has
// conversations and no password, and whoever set one would read them.
func (h *REST) postUsers(c *call) (any, error) {
	if !c.Admin && !c.settings.OpenRegistration {
		return nil, errClosed
	}
	var body struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Nickname string `json:"nickname"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	if problem := events.IDProblem(body.Username); problem != "" {
		return nil, invalid("username: " + problem)
	}
	if !c.Admin {
		// As the vendor does, so that names that differ in that are one.
		body.Username = strings.ToLower(body.Username)
		if problem := nameProblem(body.Username); problem != "" {
			return nil, invalid("username: " + problem)
		}
	}
	if len(body.Nickname) > maxNickname {
		return nil, invalid("nickname: too long")
	}
	register := h.cfg.Accounts.Register
	if c.Admin {
		register = h.cfg.Accounts.RegisterReserved
	} else if known, err := h.cfg.State.Knows(c.app, body.Username); err != nil {
		return nil, err
	} else if known {
		return nil, errUserExists
	}
	if err := register(c.ctx, c.app, body.Username, body.Password, body.Nickname); err != nil {
		return nil, err
	}
	return map[string]any{
		"action":    "post",
		"entities":  []entity{{Type: "user", Username: body.Username, Activated: true, Nickname: body.Nickname}},
		"timestamp": time.Now().UnixMilli(),
	}, nil
}

// getTokenExpires is the call by which the SDK presents a new token: the user's sessions then last
// as long as that one.
func (h *REST) getTokenExpires(c *call) (any, error) {
	if !c.Is(c.r.PathValue("user")) {
		return nil, errForbidden
	}
	h.cfg.Sessions.Renew(c.ctx, c.app, c.User, c.Expires)
	return map[string]any{"expire_timestamp": c.Expires.UnixMilli()}, nil
}

// nameProblem says why a name could be taken for another one; empty if it could not, as far as one
// can tell: with characters that are not seen, that turn the direction of writing, or that are
// another way to write others.
func nameProblem(name string) string {
	switch {
	case name == "." || name == "..":
		return "is a step in a path, which programs leave out of an address"
	case strings.TrimSpace(name) != name:
		return "begins or ends with a space"
	case norm.NFKC.String(name) != name:
		return "has characters that are another form of others"
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(unicode.Cf, r) || !unicode.IsGraphic(r) }):
		return "has characters that are not seen"
	}
	return ""
}

// nameOf is the name of the account that a login is for: the one of exactly this name, which a
// backend may have made, or the one in lower case.
func (h *REST) nameOf(c *call, name string) (string, error) {
	lower := strings.ToLower(name)
	if lower == name {
		return name, nil
	}
	switch has, err := h.cfg.Accounts.Has(c.ctx, c.app, name); {
	case err != nil:
		return "", err
	case has:
		return name, nil
	}
	return lower, nil
}
