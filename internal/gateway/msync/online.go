package msync

import (
	"context"
	"time"
)

// OnlineHere reports whether a user is logged in at this process.
func (s *Server) OnlineHere(app, user string) bool { return s.clients.online(app, user) }

// online returns those of an app's users who are logged in, wherever.
func (s *Server) online(ctx context.Context, app string, users []string) []string {
	var here, away []string
	for _, user := range users {
		if s.OnlineHere(app, user) {
			here = append(here, user)
		} else {
			away = append(away, user)
		}
	}
	if s.cfg.OtherNodes == nil {
		return here
	}
	return append(here, s.cfg.OtherNodes.Online(ctx, app, away)...)
}

// RenewHere lets the sessions of a user at this process last until a later time.
func (s *Server) RenewHere(app, user string, expires time.Time) { s.clients.renew(app, user, expires) }

// Renew lets the open sessions of a user, wherever they are, last until a later time than their
// tokens said, because the user has presented a newer one.
func (s *Server) Renew(ctx context.Context, app, user string, expires time.Time) {
	s.RenewHere(app, user, expires)
	if s.cfg.OtherNodes != nil {
		s.cfg.OtherNodes.Renew(ctx, app, user, expires)
	}
}
