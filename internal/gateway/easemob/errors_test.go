package easemob

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/consumers/projector"
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
