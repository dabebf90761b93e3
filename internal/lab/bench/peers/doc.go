// Package peers runs the same receipts through receiptd and through what one would build instead from a database, a
// cache or a message broker, each as a server of its own on the loopback, with temporary data. Every count is
// compared with what the traffic must lead to; a wrong one fails the run.
//
// The peers store receipts and count them. They check nothing: not who is a member, not whether a receipt is still
// valid, not whether its message exists; and they tell no author. That is what they save beside receiptd.
package peers
