package httpapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/receiptd/receiptd/internal/gateway"
)

// Positions knows how far the state is folded.
type Positions = gateway.Positions

var (
	errBehind   = newError(http.StatusServiceUnavailable, "behind", gateway.ErrBehind.Error()).again(1)
	errNotFresh = newError(http.StatusServiceUnavailable, "not_fresh", gateway.ErrNotFresh.Error()).again(1)
)

// freshness is how new the answers of this server are.
func (cfg *Config) freshness() gateway.Freshness {
	f := gateway.Freshness{Positions: cfg.Positions, Partitions: cfg.Partitions, Log: cfg.Identity}
	if cfg.Cluster != nil {
		f.Node = cfg.Cluster.Name()
	}
	return f
}

// awaitPosition waits until the state is as new as the request asks for.
func (a *API) awaitPosition(c *call) error {
	return notAwaited(a.fresh.Await(c.r.Context(), c.r, min(a.cfg.Limits.CatchUp, time.Until(c.deadline))))
}

// notAwaited is the answer for an error of [gateway.Freshness.Await].
func notAwaited(err error) error {
	bad, is := errors.AsType[*gateway.PositionError](err)
	switch {
	case is && bad.Foreign:
		return foreignCursor(bad.Field)
	case is:
		return invalid(bad.Field, bad.Problem)
	case errors.Is(err, gateway.ErrBehind):
		return errBehind
	case errors.Is(err, gateway.ErrNotFresh):
		return errNotFresh
	}
	return err
}
