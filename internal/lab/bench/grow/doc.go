// Package grow measures what size costs: receiptd as a process of its own with a million receipts
// in its state, and again with many; then it kills the process under load and starts it again.
package grow
