// Package nodes measures receiptd on several nodes beside one process, on one machine: what the
// same traffic costs there, and how soon a node that has lost its state is back.
package nodes
