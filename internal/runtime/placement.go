package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/notary"
	"github.com/receiptd/receiptd/internal/router"
)

// joinPlan finds out which of its copies a node begins with: all, or those that it had. It opens
// the bucket in which the nodes agree.
func (c *Core) joinPlan(ctx context.Context, cfg config.Config) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit(cfg))
	defer cancel()
	if c.nc, err = c.Log.Connect(ctx, "receiptd node "+cfg.Cluster.Node); err != nil {
		return fmt.Errorf("connect to the other nodes: %w", err)
	}
	// What all nodes make at the same time may take some of them two tries.
	err = retry(ctx, c.logger, func(ctx context.Context) (err error) {
		c.bucket, err = cluster.OpenBucket(ctx, c.nc, cluster.BucketName, cfg.CopiesOfLog(), 0)
		return err
	})
	if err == nil {
		err = retry(ctx, c.logger, func(ctx context.Context) (err error) {
			c.plan, err = cluster.Join(ctx, c.bucket, cfg.Cluster.Node, cfg.Cluster.Copies)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	if n := cfg.Cluster.Copies; n > 0 && n != c.plan.Copies {
		c.logger.Warn("this node's --copies is not what the cluster has, which holds; receiptctl cluster copies changes it",
			"copies", n, "cluster", c.plan.Copies)
	}
	return nil
}

// proofMax bounds how long another node is waited for that makes a proof: it may have to read.
const proofMax = 30 * time.Second

// Names of what nodes do for each other beside answering questions of the state.
const (
	callDigest      = "digest"
	callCheckpoint  = "checkpoint"
	callConsistency = "consistency"
	callInclusion   = "inclusion"
	callEvidence    = "evidence"
)

// proofOf says which proof is wanted.
type proofOf struct {
	From, To, Sequence uint64              `json:",omitempty"`
	In                 events.Conversation `json:",omitzero"`
	Message, User      string              `json:",omitempty"`
	Whole              bool                `json:",omitempty"`
}

// answerOthers has this node give digests and proofs of its copies to others.
func (s *Server) answerOthers() {
	for name, f := range s.calls() {
		s.router.Handle(name, f)
	}
}

// calls are what this node does for others, by name.
func (s *Server) calls() map[string]router.Call {
	prove := func(f func(ctx context.Context, partition int, x *proofOf) (any, error)) router.Call {
		return func(ctx context.Context, partition int, args json.RawMessage) (any, error) {
			var x proofOf
			if err := json.Unmarshal(args, &x); err != nil {
				return nil, fmt.Errorf("a question for a proof: %w", err)
			}
			if s.notary == nil {
				return nil, errors.New("the node is starting")
			}
			return f(ctx, partition, &x)
		}
	}
	return map[string]router.Call{
		callDigest: func(ctx context.Context, partition int, _ json.RawMessage) (any, error) {
			return s.Projector.Digest(ctx, partition)
		},
		callCheckpoint: prove(func(_ context.Context, partition int, x *proofOf) (any, error) {
			return s.notary.Checkpoint(partition, x.To)
		}),
		callConsistency: prove(func(_ context.Context, partition int, x *proofOf) (any, error) {
			return s.notary.Consistency(partition, x.From, x.To)
		}),
		callInclusion: prove(func(_ context.Context, partition int, x *proofOf) (any, error) {
			return s.notary.Inclusion(partition, x.Sequence, x.To)
		}),
		callEvidence: prove(func(ctx context.Context, _ int, x *proofOf) (any, error) {
			return s.notary.Evidence(ctx, x.In, x.Message, x.User, x.Whole)
		}),
	}
}

// routedNotary makes proofs by this node's notary or, for partitions that it does not answer for,
// by those of other nodes, who have the same key.
type routedNotary struct {
	*notary.Notary
	router *router.Router
}

// elsewhere has another node do what this one could not.
func elsewhere[R any](ctx context.Context, n routedNotary, here error, name string, partition int, x proofOf) (result R, err error) {
	if !errors.Is(here, projector.ErrFoldingAgain) {
		return result, here
	}
	ctx, cancel := context.WithTimeout(ctx, proofMax)
	defer cancel()
	err = n.router.CallOther(ctx, name, partition, 0, x, &result)
	return result, err
}

// Checkpoint implements [httpapi.Notary].
func (n routedNotary) Checkpoint(partition int, size uint64) (string, error) {
	signed, err := n.Notary.Checkpoint(partition, size)
	if err == nil {
		return signed, nil
	}
	return elsewhere[string](context.Background(), n, err, callCheckpoint, partition, proofOf{To: size})
}

// Consistency implements [httpapi.Notary].
func (n routedNotary) Consistency(partition int, from, to uint64) (merkle.Consistency, error) {
	c, err := n.Notary.Consistency(partition, from, to)
	if err == nil {
		return c, nil
	}
	return elsewhere[merkle.Consistency](context.Background(), n, err, callConsistency, partition, proofOf{From: from, To: to})
}

// Inclusion implements [httpapi.Notary].
func (n routedNotary) Inclusion(partition int, sequence, size uint64) (merkle.Inclusion, error) {
	i, err := n.Notary.Inclusion(partition, sequence, size)
	if err == nil {
		return i, nil
	}
	return elsewhere[merkle.Inclusion](context.Background(), n, err, callInclusion, partition, proofOf{Sequence: sequence, To: size})
}

// Evidence implements [httpapi.Notary].
func (n routedNotary) Evidence(ctx context.Context, c events.Conversation, message, user string, whole bool) ([]byte, error) {
	file, err := n.Notary.Evidence(ctx, c, message, user, whole)
	if err == nil {
		return file, nil
	}
	return elsewhere[[]byte](ctx, n, err, callEvidence, c.Partition(len(n.router.Folded())), proofOf{In: c, Message: message, User: user, Whole: whole})
}

// digest is the digest of a partition's state at an entry or later, of the copy here or of another
// node's.
func (c *Core) digest(ctx context.Context, partition int, upto uint64) (d projector.StateDigest, err error) {
	if c.router == nil {
		if err := c.Projector.WaitFor(ctx, partition, upto); err != nil {
			return d, err
		}
		return c.Projector.Digest(ctx, partition)
	}
	if err := c.router.WaitFor(ctx, partition, upto); err != nil {
		return d, err
	}
	if c.Projector.Serves(partition, upto) {
		if d, err = c.Projector.Digest(ctx, partition); !errors.Is(err, projector.ErrFoldingAgain) {
			return d, err
		}
	}
	err = c.router.CallOther(ctx, callDigest, partition, upto, struct{}{}, &d)
	return d, err
}

// folds are the state as commands ask for it: that of the folds here, or of a node of a cluster.
func (c *Core) folds() folds {
	if c.router != nil {
		return c.router
	}
	return c.Projector
}
