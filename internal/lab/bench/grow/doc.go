// Package grow measures what size costs: it runs receiptd as a process of its own, measures it with
// a million receipts in its state and again with many, then kills the process under load and starts
// it again.
package grow
