// Package cluster puts several receiptd on one log under stress: real processes, on real NATS
// servers or forming their own, with clients that write and read through all of them while a
// nemesis kills, pauses, cuts off and damages one after the other, sets their clocks wrong, and has
// ClickHouse and the node that fills it fail together. What the clients saw is checked: an
// acknowledged event counts once, everywhere, and is known to every node when it comes again; a
// read that asks for a position has what it must have, and strong reads are linearizable; what one
// client sees does not go back; streams tell of every reader, and on one connection once; all
// copies of the state are the same in the end, and the same as a fresh replay; ClickHouse has each
// row once.
//
//	go test ./internal/lab/cluster -v -timeout 0 -for 30m -seed 7
//
// Without -for it is a short form, on outside brokers and on the nodes' own. Where Linux lets them,
// the tests run in a network and with mounts of their own, which end with them; else links are not
// cut and disks do not become full. The short form leaves the clocks alone: programs that have one
// take minutes to build.
package cluster
