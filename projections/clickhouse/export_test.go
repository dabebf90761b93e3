package clickhouse

import (
	"testing"

	"github.com/receiptd/receiptd/internal/lab/oracle"
)

// NewFortnight makes the two weeks for tests of what is built upon this package.
func NewFortnight(t testing.TB) (*Store, *oracle.Model) {
	f := newFortnight(t)
	return f.store, f.model
}
