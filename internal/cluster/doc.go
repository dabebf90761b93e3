// Package cluster is what several receiptd need of each other to serve one log in a NATS cluster:
// shared secrets and sessions, who is there and how far, whether all copies of the state are the
// same, reads that are fresh, and one writer at a time where the outside world needs one.
//
// Every node folds the whole log by itself, so no state has an owner, and nothing here is on the
// path of an event. What must be agreed on is agreed on by compare-and-set in a JetStream key-value
// bucket ([Bucket]), read from its leader; a clock only says when to try. What the nodes tell each
// other in between (membership) are hints: they cost locality when they are wrong, never an answer.
package cluster
