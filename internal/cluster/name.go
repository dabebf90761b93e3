package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNameTaken: another process has this node's name.
var ErrNameTaken = errors.New("cluster: another process has this node's name; each node needs its own --node")

const (
	nameSubject = "receipts.cluster.v1.name."
	// nameTimeout is how long a process that has the name is waited for. One that is gone costs no
	// time, as nobody listens; one that stands still has lost the name.
	nameTimeout = time.Second
	// lifePrefix begins the keys that say which process of a node began last.
	lifePrefix = "life."
	// contestEvery is the time between two looks at whose the name is that several use.
	contestEvery = 10 * time.Second
)

// NewNameBus makes a bus on which processes say which names they have.
func NewNameBus(nc *nats.Conn) (Bus, error) { return newBus(nc, nameSubject, 1) }

// TakeName takes a node's name for a process, and says so to those that ask, until release is
// called. The error is [ErrNameTaken] if a process that has it answers. From one that stands still
// the name is taken away: when it goes on, its [Node.Run] ends.
func TakeName(ctx context.Context, bus Bus, bucket *Bucket, name, life string) (release func(), err error) {
	asking, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	if other, err := bus.Ask(asking, name, nil); err == nil {
		return nil, fmt.Errorf("%w: %s, incarnation %s", ErrNameTaken, name, other)
	}
	if err := bucket.Put(ctx, lifePrefix+name, []byte(life)); err != nil {
		return nil, err
	}
	return bus.Answer(name, func([]byte) []byte { return []byte(life) })
}

// contest ends with [ErrNameTaken] once another process that uses this node's name began later.
func (n *Node) contest(ctx context.Context) error {
	for {
		select {
		case <-n.members.contested:
		case <-ctx.Done():
			return nil
		}
		last, _, err := n.o.Bucket.Get(ctx, lifePrefix+n.o.Name)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.o.Logger.Warn("another process uses this node's name; which of them began later is not known yet", "error", err)
		case string(last) != n.o.Life:
			return fmt.Errorf("%w: %s, incarnation %s, which began later", ErrNameTaken, n.o.Name, last)
		default:
			n.o.Logger.Error("another process uses this node's name; it should have ended", "node", n.o.Name)
		}
		select {
		case <-time.After(contestEvery):
		case <-ctx.Done():
			return nil
		}
	}
}
