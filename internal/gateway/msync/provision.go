package msync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// Refusals of PROVISION. The texts are those by which the SDK knows what to tell its user.
var (
	loginBadToken = refusal{msyncpb.Status_FAIL, "Sorry, token or password does not match login info"}
	loginExpired  = refusal{msyncpb.Status_FAIL, "Sorry, token expired"}
	loginNoApp    = refusal{msyncpb.Status_WRONG_PARAMETER, "app not found"}
	loginDevice   = refusal{msyncpb.Status_WRONG_PARAMETER, "resource is not an id"}
	loginTooMany  = refusal{msyncpb.Status_TOO_MANY_DEVICES, "the user has too many connections"}
)

// refusal is a Status other than OK.
type refusal struct {
	code   msyncpb.Status_Code
	reason string
}

func (r refusal) status() *msyncpb.Status {
	return &msyncpb.Status{Code: r.code.Enum(), Reason: proto.String(r.reason)}
}

func ok() *msyncpb.Status { return &msyncpb.Status{Code: msyncpb.Status_OK.Enum()} }

// maxTimer is the longest time that the SDK is told to count down: its timers hold 31 bits of
// milliseconds.
const maxTimer = 20 * 24 * time.Hour

// provision reads the first frame and admits its sender, or answers why not. The end of pending
// ends the wait for that frame.
func (s *Server) provision(pending context.Context, conn *websocket.Conn) (*session, error) {
	waiting, cancel := context.WithTimeout(pending, s.cfg.Limits.Provision)
	defer cancel()
	rq, err := s.receive(waiting, conn)
	if pending.Err() != nil {
		return nil, errCrowded
	}
	if waiting.Err() != nil {
		return nil, errProvision
	}
	if err != nil {
		return nil, err
	}
	if rq.login == nil {
		return nil, errProvision
	}
	conn.SetReadLimit(s.cfg.Limits.FrameBytes)
	expires, refused, err := s.check(rq.login)
	if err != nil {
		return nil, err
	}
	var c *session
	if refused == nil {
		c = s.newSession(conn, rq.login, expires)
		if reason := s.clients.join(c); reason != "" {
			s.metrics.refused.WithLabelValues(reason).Inc()
			if reason == refusedTotal {
				c.stopTimers()
				return nil, errCrowded // without an answer: the SDK comes again
			}
			refused = &loginTooMany
		}
	} else {
		s.metrics.refused.WithLabelValues(refusedLogin).Inc()
	}
	if refused != nil {
		if c != nil {
			c.stopTimers()
		}
		_ = conn.Write(waiting, websocket.MessageBinary, encode(msyncpb.Frame_PROVISION, &msyncpb.Provision{Status: refused.status()}))
		return nil, errRefused
	}
	if err := c.begin(context.Background()); err != nil {
		s.clients.part(c)
		return nil, err
	}
	return c, nil
}

// check finds out whether a login is allowed, and until when. The error is [errUnsure] if that
// cannot be told now.
func (s *Server) check(l *login) (expires time.Time, refused *refusal, err error) {
	token := strings.TrimPrefix(l.token, tokenPrefix)
	caller, err := s.cfg.Tokens.Verify(token)
	switch {
	case errors.Is(err, gateway.ErrTokenExpired):
		return expires, &loginExpired, nil
	case err != nil, !caller.MayUse(l.app), !caller.Is(l.user):
		return expires, &loginBadToken, nil
	}
	switch _, _, err := s.cfg.State.FindApp(l.app); {
	case errors.Is(err, projector.ErrNoApp):
		return expires, &loginNoApp, nil
	case err != nil:
		return expires, nil, fmt.Errorf("%w: %w", errUnsure, err)
	}
	if events.IDProblem(l.device) != "" {
		return expires, &loginDevice, nil
	}
	return caller.Expires, nil, nil
}

func (s *Server) newSession(conn *websocket.Conn, l *login, expires time.Time) *session {
	n := s.cfg.Limits.FramesPerSecond
	c := &session{
		srv: s, conn: conn, app: l.app, user: l.user, device: l.device,
		frames: rate.NewLimiter(rate.Limit(n), 10*n),
		asks:   make(chan ask, 8), expires: expires,
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	c.pending.init()
	c.expiry = time.AfterFunc(time.Until(expires), func() { c.fail(errExpired) })
	c.idle = time.AfterFunc(s.cfg.Limits.Idle, func() { c.fail(errIdle) })
	return c
}

// begin makes the user online and answers their login.
func (c *session) begin(ctx context.Context) (err error) {
	s := c.srv
	// Before anything else, so that what is folded from here on is either in the summary or pushed.
	c.sub = s.cfg.Notify.Subscribe(c.app, c.user, events.ConversationRead)
	defer func() {
		if err != nil {
			c.stopTimers()
			c.sub.Close()
		}
	}()
	if c.box, err = s.cfg.Inbox.Open(ctx, c.app, c.user, c.device); err != nil {
		s.cfg.Logger.ErrorContext(ctx, "sdk: an inbox could not be opened", "error", err)
		return errInternal // the SDK comes again
	}
	answer := &msyncpb.Provision{Status: ok(), Resource: &c.device}
	if left := time.Until(c.expires); left < maxTimer {
		text, _ := json.Marshal(map[string]int64{"expires_in": c.expires.UnixMilli()})
		answer.AuthToken = proto.String(string(text))
	}
	err = c.write(encode(msyncpb.Frame_PROVISION, answer))
	if err == nil {
		err = c.write(c.lastPage())
	}
	if err != nil {
		c.box.Close()
	}
	return err
}
