package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
)

// TestOutcomesAreDocumented holds the table of codes in docs/ingress.md against the code: each
// rejection is in it, and nothing else is.
func TestOutcomesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "ingress.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| code | reason | when |\n| --- | --- | --- |\n")
	table, _, end := strings.Cut(table, "\n\n")
	if !ok || !end {
		t.Fatal("the table is not where it was")
	}
	written := map[string]bool{}
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		written[strings.TrimSpace(cells[1])+" "+strings.Trim(cells[2], " `")] = true
	}
	there := map[string]bool{}
	for o := events.OutcomeRejected + 1; o.Rejected(); o++ {
		row := fmt.Sprintf("%d %s", o.Code(), o.Reason())
		if there[row] = true; !written[row] {
			t.Errorf("%q is not in the table", row)
		}
	}
	for row := range written {
		if !there[row] {
			t.Errorf("%q is in the table, and no outcome", row)
		}
	}
}
