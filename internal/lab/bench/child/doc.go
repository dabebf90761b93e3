// Package child runs servers for benchmarks as processes of their own, receiptd among them, and
// uses receiptd over HTTP.
package child
