package msync

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

// unsureState cannot tell of any app.
type unsureState struct{ State }

func (unsureState) FindApp(string) (s events.Settings, revision uint64, err error) {
	return s, 0, projector.ErrLate
}

// While nobody can tell whether there is an app, a login is not refused, which the SDK takes for
// good: the connection is closed, and the SDK comes again.
func TestLoginsThatNobodyCanTellOf(t *testing.T) {
	tokens, err := gateway.NewTokens(bytes.Repeat([]byte("k"), gateway.MinTokenKeyBytes), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := tokens.Mint("acme#chat", "ann", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{State: unsureState{}, Tokens: tokens}}
	_, refused, err := s.check(&login{app: "acme#chat", user: "ann", device: "web", token: token})
	if refused != nil || !errors.Is(err, errUnsure) || !errors.Is(err, projector.ErrLate) {
		t.Errorf("refused %v, %v", refused, err)
	}
	if code, text := closing(err); code != websocket.StatusTryAgainLater || text != "login_unsure" {
		t.Errorf("closed with %v %s", code, text)
	}
}
