package natstest

import (
	"testing"

	"github.com/receiptd/receiptd/internal/lab/loopback"
)

// FreeAddresses returns loopback addresses that nobody listens at, all different.
func FreeAddresses(t testing.TB, n int) []string {
	t.Helper()
	addrs, err := loopback.Free(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}
