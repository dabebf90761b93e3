// Package cluster puts several receiptd on one log under stress: real processes, on real NATS
// servers or forming their own, with clients that write and read through all of them while a
// nemesis kills and pauses nodes and brokers. What the clients saw is checked: an acknowledged
// event counts once, everywhere; a read that asks for a position, or for strong consistency, has
// what it must have; what one client sees does not go back; all copies of the state are the same in
// the end, and the same as a fresh replay.
//
//	go test ./internal/lab/cluster -v -timeout 0 -for 30m -seed 7
//
// Without -for it is a short form, on outside brokers and on the nodes' own.
package cluster
