package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/copystate"
)

// levelEvery is how often a node looks whether the level of the rules can be raised.
const levelEvery = time.Second

// raiseLevel has the log raise the level of the rules to the highest that all nodes know, where
// that is not in force. Of those that fold a partition, the node of the first name does it; where
// two think that it is them, the second entry changes nothing.
func (n *Node) raiseLevel(ctx context.Context) {
	levels := n.state.Levels()
	var behind []int
	for k, level := range levels {
		if level < n.o.Raise(n.o.MaxLevel) && n.state.CopyState(k) == copystate.Here && n.members.first(k) == n.o.Name {
			behind = append(behind, k)
		}
	}
	if len(behind) == 0 || n.o.Draining() || n.Ready() != nil {
		return
	}
	to, err := n.commonLevel(ctx)
	to = n.o.Raise(to)
	for _, k := range behind {
		if err == nil && levels[k] < to {
			err = n.raise(ctx, k, to)
		}
	}
	if err != nil && ctx.Err() == nil {
		n.o.Logger.Warn("the level of the rules was not raised; it is tried again", "error", err)
	}
}

// commonLevel is the highest level that all nodes know: all that have ever been and were not
// forgotten, since one that is away may come back with the program that it had. It is 0 if not all
// of them serve.
func (n *Node) commonLevel(ctx context.Context) (uint64, error) {
	floors, err := n.o.Bucket.Keys(ctx, floorPrefix)
	if err != nil {
		return 0, err
	}
	heard := map[string]*member{}
	nodes := n.members.list()
	for i := range nodes {
		if !nodes[i].silent() {
			heard[nodes[i].Node] = &nodes[i]
		}
	}
	for key := range floors {
		if heard[strings.TrimPrefix(key, floorPrefix)] == nil {
			return 0, nil
		}
	}
	return levelOf(heard), nil
}

// AllKnow returns nil if all nodes know a level of the rules: all that have ever been and were not
// forgotten, and serve now.
func (n *Node) AllKnow(ctx context.Context, level uint64) error {
	common, err := n.commonLevel(ctx)
	if err == nil && common < level {
		err = fmt.Errorf("%w: a node is away or not ready, or has a version that does not know level %d of the rules: start it, or receiptctl cluster forget it", ErrRefused, level)
	}
	return err
}

// levelOf is [Node.commonLevel] of nodes that are all heard of, by name.
func levelOf(heard map[string]*member) uint64 {
	common := ^uint64(0)
	for _, m := range heard {
		if m.State != StateServing {
			return 0
		}
		common = min(common, max(1, m.MaxLevel))
	}
	if len(heard) == 0 {
		return 0
	}
	return common
}

func (n *Node) raise(ctx context.Context, partition int, level uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	t, err := n.o.Log.SubmitTo(ctx, partition, []events.Event{{Kind: events.RulesLevel, App: events.LevelApp, Revision: level}})
	if err == nil {
		err = t.Wait(ctx)
	}
	if err == nil {
		err = n.state.WaitFor(ctx, partition, t.Locate(0).Sequence)
	}
	if err != nil {
		return fmt.Errorf("partition %d to level %d: %w", partition, level, err)
	}
	n.o.Logger.Info("all nodes know a higher level of the rules: it is in force", "partition", partition, "level", level, "entry", t.Locate(0).Sequence)
	return nil
}
