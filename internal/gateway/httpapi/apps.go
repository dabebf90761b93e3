package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
)

type appsBody struct {
	Apps []appBody `json:"apps"`
}

type appBody struct {
	Org string `json:"org"`
	App string `json:"app"`
}

func (a *API) getApps(c *call) error {
	body := appsBody{Apps: []appBody{}}
	for _, key := range a.cfg.State.Apps() {
		org, app, err := events.SplitAppKey(key)
		if err != nil {
			return fmt.Errorf("apps: %w", err)
		}
		body.Apps = append(body.Apps, appBody{org, app})
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

const maxSettingsBytes = 64 << 10

// putApp creates an app or changes its settings. Settings that the body leaves out keep their
// values; in a new app they have the defaults.
func (a *API) putApp(c *call) error {
	body, err := c.readBody(maxSettingsBytes)
	if err != nil {
		return err
	}
	// One at a time: the new settings are made from the old, and revisions count up.
	select {
	case a.configuring <- struct{}{}:
		defer func() { <-a.configuring }()
	case <-c.r.Context().Done():
		return c.r.Context().Err()
	}
	current, _, err := a.cfg.State.FindApp(c.app)
	switch {
	case errors.Is(err, projector.ErrNoApp):
		current = events.DefaultSettings()
	case err != nil:
		return err // and not the defaults, which would put an app back to them
	}
	wanted, err := events.ParseSettings(current, body)
	if err != nil {
		if bad, ok := errors.AsType[*events.FieldError](err); ok {
			return invalid(bad.Field, bad.Problem)
		}
		return invalid("body", err.Error())
	}
	inForce, err := a.cfg.Commands.Configure(c.r.Context(), c.app, wanted)
	if err != nil {
		return err
	}
	gateway.WriteJSON(c.w, http.StatusOK, inForce)
	return nil
}

func (a *API) getApp(c *call) error {
	gateway.WriteJSON(c.w, http.StatusOK, c.settings)
	return nil
}

type rejectionBody struct {
	eventlog.Position
	Index   int       `json:"index"`
	At      timestamp `json:"at"`
	Type    string    `json:"type"`
	Group   string    `json:"group,omitempty"`
	Peer    string    `json:"peer,omitempty"`
	User    string    `json:"user,omitempty"`
	Message string    `json:"message,omitempty"`
	Code    int       `json:"code"`
	Reason  string    `json:"reason"`
}

func (a *API) getRejections(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	rejections, err := a.cfg.State.Rejections(c.app, limit)
	if err != nil {
		return err
	}
	list := make([]rejectionBody, 0, len(rejections))
	for i := range rejections {
		r := &rejections[i]
		list = append(list, rejectionBody{
			Position: eventlog.Position{Partition: r.Partition, Sequence: r.Sequence}, Index: r.Index, At: timestamp(r.At), Type: r.Kind.String(),
			Group: r.Group, Peer: r.Peer, User: r.User, Message: r.Message, Code: r.Outcome.Code(), Reason: r.Outcome.Reason(),
		})
	}
	gateway.WriteJSON(c.w, http.StatusOK, map[string]any{"rejections": list})
	return nil
}
