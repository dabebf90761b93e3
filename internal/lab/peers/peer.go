package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/load"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// Peer is a system that keeps receipts. While Load is called, no other method is.
type Peer interface {
	// Start starts the servers, with their data in an empty directory, and creates what the
	// traffic needs.
	Start(ctx context.Context, dir string, traffic *sim.Traffic) error
	load.System
	// CPU is the processor time of the servers so far, in seconds.
	CPU() (float64, error)
	// Bytes is the space on the disk of what was loaded. It is the last thing a peer is asked,
	// and it may stop for it.
	Bytes(ctx context.Context) (float64, error)
	// Stop ends the servers. It may be called again, and after a failed Start.
	Stop() error
}

// System is a peer, and how it is loaded: what suits it best on a machine with few cores.
type System struct {
	// Name identifies the system, Title describes it in a table.
	Name, Title string
	// Durability says what of an answered receipt survives a power loss.
	Durability string
	// Connections load at the same time, each with requests of Batch events, one after the
	// other.
	Connections, Batch int
	// UnderWay is how many requests a connection has under way at most; 0 = one after the other.
	UnderWay int

	open func(child.Self) Peer
}

const (
	synced   = "fsync before the answer"
	everySec = "fsync once a second: up to 1 s lost"
)

// Systems are all that can be compared, receiptd first.
func Systems() []System {
	return []System{
		{"embedded", "receiptd in the program, 1000 a submit", synced, 64, 1000, 0,
			func(child.Self) Peer { return new(builtIn) }},
		{"sqlite", "SQLite in the program, a row a receipt, 1000 a transaction", synced, 2, 1000, 0,
			func(child.Self) Peer { return new(sqlite) }},
		{"http", "receiptd over HTTP, NDJSON, 1000 a request", synced, 16, 1000, 0,
			func(self child.Self) Peer { return &remote{child.NewReceiptd(self, child.NDJSON)} }},
		{"stream", "receiptd over an HTTP stream, 1 a line", synced, 16, 1, 1024,
			func(self child.Self) Peer {
				return &streaming{remote: remote{child.NewReceiptd(self, child.NDJSON)}}
			}},
		{"nats", "receiptd over NATS, 1 a request", synced, 16, 1, 256,
			func(self child.Self) Peer {
				return &requesting{remote: remote{child.NewReceiptd(self, child.NDJSON).WithNATS()}}
			}},
		{"http-single", "receiptd over HTTP, JSON, 1 a request", synced, 64, 1, 0,
			func(self child.Self) Peer { return &remote{child.NewReceiptd(self, child.NDJSON)} }},
		{"postgres", "PostgreSQL, a row and a transaction a receipt", synced, 16, 1, 0,
			func(child.Self) Peer { return &postgres{connections: 16} }},
		{"postgres-batch", "PostgreSQL, a row a receipt, 500 a transaction", synced, 4, 500, 0,
			func(child.Self) Peer { return &postgres{connections: 4} }},
		{"redis", "Redis, XADD + SADD, 1 a round trip", synced, 64, 1, 0,
			func(child.Self) Peer { return &cache{fsync: "always", connections: 64} }},
		{"redis-batch", "Redis, XADD + SADD, 500 a round trip", synced, 4, 500, 0,
			func(child.Self) Peer { return &cache{fsync: "always", connections: 4} }},
		{"redis-everysec", "Redis, XADD + SADD, 1 a round trip", everySec, 64, 1, 0,
			func(child.Self) Peer { return &cache{fsync: "everysec", connections: 64} }},
		{"redis-everysec-batch", "Redis, XADD + SADD, 500 a round trip", everySec, 4, 500, 0,
			func(child.Self) Peer { return &cache{fsync: "everysec", connections: 4} }},
		{"watermill", "Watermill on JetStream, projected into PostgreSQL, a message a receipt", synced, 64, 1, 0,
			func(self child.Self) Peer { return &watermillPeer{self: self} }},
	}
}

// Select returns the systems of the names, in the order of [Systems]; all for none.
func Select(names []string) ([]System, error) {
	all := Systems()
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	for _, s := range all {
		known = append(known, s.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("peers: no system %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(s System) bool { return !slices.Contains(names, s.Name) }), nil
}
