package easemob

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
)

// TestUnansweredIsBusy: the SDK comes back, as it does to a busy server, for what is folded again
// or is with nodes that do not answer, and nothing is logged as a fault of this edge.
func TestUnansweredIsBusy(t *testing.T) {
	var logged strings.Builder
	h := New(Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	for _, err := range []error{projector.ErrFoldingAgain, projector.ErrAbsent, projector.ErrNoCopy, projector.ErrLate} {
		w := httptest.NewRecorder()
		h.refuse(w, httptest.NewRequest("GET", "/acme/chat/chatgroups/g", nil), fmt.Errorf("partition 1: %w", err))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "service_unavailable") || logged.Len() > 0 {
			t.Errorf("%v: %d %v %s; logged %s", err, w.Code, w.Header(), w.Body, logged.String())
		}
	}
}

// unsureState cannot tell of any app.
type unsureState struct{ State }

func (unsureState) FindApp(string) (s events.Settings, revision uint64, err error) {
	return s, 0, projector.ErrLate
}

// While nobody can tell whether there is an app, the SDK is told to come again, whoever asks and
// whether the call is open to strangers or not.
func TestAppsThatNobodyCanTellOf(t *testing.T) {
	h := New(Config{State: unsureState{}, AdminKey: "admin", Logger: slog.New(slog.DiscardHandler)})
	for _, admin := range []bool{false, true} {
		for _, open := range []bool{false, true} {
			c := &call{ctx: t.Context(), r: httptest.NewRequest("GET", "/", nil), Caller: gateway.Caller{Admin: admin}, app: "acme#chat"}
			if err := h.findApp(c, open); !errors.Is(err, projector.ErrLate) {
				t.Errorf("admin %v, open %v: %v", admin, open, err)
			}
		}
	}
}
