package httpapi

import (
	"net/http"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

const (
	// smallBody bounds bodies that hold one value.
	smallBody = 16 << 10

	defaultTokenTTL = 24 * time.Hour
	// maxTokenTTL bounds how long a stolen token is of use.
	maxTokenTTL = 90 * 24 * time.Hour
)

func (a *API) getSummary(c *call) error {
	device, err := c.device()
	if err != nil {
		return err
	}
	summary, err := a.summaries.Summary(c.app, c.r.PathValue("user"), device)
	if err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, gateway.NewSummaryBody(summary))
	return nil
}

func (a *API) postSummaryAck(c *call) error {
	var body struct {
		Cursor string `json:"cursor"`
	}
	device, err := c.device()
	if err != nil {
		return err
	}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	user := c.r.PathValue("user")
	upto, err := a.summaries.Upto(c.app, user, device, body.Cursor)
	if err != nil {
		return err
	}
	if err := a.cfg.Commands.Seen(c.r.Context(), c.app, user, device, upto); err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, struct{}{})
	return nil
}

func (a *API) postToken(c *call) error {
	ttl := events.Duration(defaultTokenTTL)
	body := struct {
		TTL *events.Duration `json:"ttl"`
	}{&ttl}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	if d := time.Duration(ttl); body.TTL == nil || d < time.Second || d > maxTokenTTL {
		return invalid("ttl", "not a duration from 1s to "+maxTokenTTL.String())
	}
	user := c.r.PathValue("user")
	if err := a.reserveName(c, user); err != nil {
		return err
	}
	token, expires, err := a.cfg.Tokens.Mint(c.app, user, time.Duration(ttl))
	if err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, struct {
		Token     string    `json:"token"`
		ExpiresAt timestamp `json:"expires_at"`
	}{token, timestamp(expires.UnixMilli())})
	return nil
}

// reserveName keeps a user of the backend from being registered by a stranger, where strangers may
// register.
func (a *API) reserveName(c *call, user string) error {
	settings, _, err := a.cfg.State.FindApp(c.app)
	if err != nil {
		return err
	}
	if a.cfg.Names == nil || !settings.OpenRegistration || events.IDProblem(user) != "" {
		return nil
	}
	return a.cfg.Names.Reserve(c.r.Context(), c.app, user)
}
