package easemob

import (
	"time"

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
func (h *REST) postToken(c *call) (any, error) {
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
	h.cfg.Sessions.Renew(c.app, c.User, c.Expires)
	return map[string]any{"expire_timestamp": c.Expires.UnixMilli()}, nil
}
