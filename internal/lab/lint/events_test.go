package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// TestEventsAreDocumented: the lines of events in docs/ingress.md are events, and each kind that a
// producer may send is among them.
func TestEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "ingress.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, found, ok := strings.Cut(string(text), "\n## Events\n")
	_, found, begin := strings.Cut(found, "\n```json\n")
	lines, _, end := strings.Cut(found, "```\n")
	if !ok || !begin || !end {
		t.Fatal("the events are not where they were")
	}
	there := map[events.Kind]bool{}
	var d events.Decoder
	if err := d.Decode([]byte(lines), events.FormatNDJSON, func(_ int, e *events.Event) error {
		there[e.Kind] = true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for k := events.Kind(1); k.Valid(); k++ {
		if !there[k] && !k.Internal() {
			t.Errorf("%s is not among the events", k)
		}
	}
}
