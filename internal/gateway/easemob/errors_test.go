package easemob

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/consumers/projector"
)

// TestFoldingAgainIsBusy: the SDK comes back, as it does to a busy server, and nothing is logged as
// a fault of this edge.
func TestFoldingAgainIsBusy(t *testing.T) {
	var logged strings.Builder
	h := New(Config{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	w := httptest.NewRecorder()
	h.refuse(w, httptest.NewRequest("GET", "/acme/chat/chatgroups/g", nil), fmt.Errorf("partition 1: %w", projector.ErrFoldingAgain))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "service_unavailable") || logged.Len() > 0 {
		t.Errorf("%d %v %s; logged %s", w.Code, w.Header(), w.Body, logged.String())
	}
}
