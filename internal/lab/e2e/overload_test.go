package e2e

import (
	"encoding/json"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/bench/overload"
)

// TestOverloadIsBorne is the short form of receiptctl bench overload: far more is asked for than
// can be done. The server stays within its memory, goes on doing most of what it did in the calm
// phase of the same run, refuses the rest with an answer, has what it accepted and nothing else,
// and answers a quiet tenant.
func TestOverloadIsBorne(t *testing.T) {
	const (
		memory = 700 // MiB, of the 1 GiB that is documented: the state is small here
		share  = 0.5 // of the calm phase
	)
	var result overload.Result
	// A machine that others use, too, may do less in one phase than in the other. A server that
	// collapses does so each time.
	for range 3 {
		r := run(t, "receiptctl", nil, "bench", "overload", "--json", "--dir", t.TempDir(), "--duration", "2s",
			"--connections", "300", "--batch", "1000", "--tenants", "2")
		if r.code != 0 {
			t.Fatal(r)
		}
		result = overload.Result{}
		if err := json.Unmarshal([]byte(r.out), &result); err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", result.Rows[0])
		if result.Rows[0].Share >= share {
			break
		}
	}
	row := result.Rows[0]
	if row.Memory > memory || row.Memory == 0 {
		t.Errorf("%.0f MiB, the bound is %d", row.Memory, memory)
	}
	if row.Share < share {
		t.Errorf("%.0f events/s, the calm phase had %.0f", row.Goodput, row.Best)
	}
	if row.Unknown > 0 {
		t.Errorf("answers that say neither yes nor no: %v", row.Codes)
	}
	if row.Quiet.Asked == 0 || row.Quiet.Failed*20 > row.Quiet.Asked {
		t.Errorf("%d of %d requests of the quiet tenant failed", row.Quiet.Failed, row.Quiet.Asked)
	}
	if n := row.Failures["/readyz"] + row.Failures["/healthz"]; n > 0 {
		t.Errorf("failed questions: %v", row.Failures)
	}
	if result.Checked == 0 || !result.VerifyEqual {
		t.Errorf("%d messages checked, verify equal: %v", result.Checked, result.VerifyEqual)
	}
}
