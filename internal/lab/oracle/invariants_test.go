package oracle_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

func TestInvariantsHoldAfterEveryEntry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := history.Logs().Draw(t, "history")
		m := oracle.NewWithLimits(0, history.SmallLimits())
		for i := range h {
			h[i].Apply(m)
			if err := m.CheckInvariants(); err != nil {
				t.Fatalf("after entry %d: %v", h[i].Sequence, err)
			}
		}
	})
}
