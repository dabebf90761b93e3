package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/receiptd/receiptd/internal/gateway"
)

// Cluster is the nodes on one log, of which this server is one. What changes it has the error
// [ErrNoNode] for a node that is not known, or not as it would have to be, and [ErrRefused] in the
// one for what makes no sense.
type Cluster interface {
	// Name is this node's.
	Name() string
	// View is the cluster as this node sees it, as the answer to GET /v1/cluster.
	View() any
	// Forget drops a node that will not come back. It returns [ErrNodeAlive] for one that is there.
	Forget(ctx context.Context, node string) error
	// SetCopies says how many nodes are to fold each partition; 0 = all.
	SetCopies(ctx context.Context, copies int) error
	// Drain has a node have no copies, and Undrain has it have its share again.
	Drain(ctx context.Context, node string) error
	Undrain(ctx context.Context, node string) error
	// Move has one node fold a partition in the place of another one, until DropMove.
	Move(ctx context.Context, partition int, from, to string) error
	DropMove(ctx context.Context, partition int) error
}

var (
	// ErrNoNode: there is no node of that name.
	ErrNoNode = errors.New("httpapi: no such node")
	// ErrNodeAlive: the node is there.
	ErrNodeAlive = errors.New("httpapi: the node is alive")
	// ErrRefused: the plan of the cluster cannot be changed so.
	ErrRefused = errors.New("the plan cannot be changed so")
)

var (
	errNoCluster = newError(http.StatusNotFound, "no_cluster", "the server is no node of a cluster: it was started without --node")
	errNoNode    = newError(http.StatusNotFound, "node_not_found", "no such node, or there is nothing to undo")
	errNodeAlive = newError(http.StatusConflict, "node_alive", "the node is alive")
)

func (a *API) getCluster(c *call) error {
	if a.cfg.Cluster == nil {
		return errNoCluster
	}
	gateway.WriteJSON(c.w, http.StatusOK, a.cfg.Cluster.View())
	return nil
}

// change answers a request that changes something in the cluster.
func (a *API) change(c *call, change func(Cluster) error) error {
	if a.cfg.Cluster == nil {
		return errNoCluster
	}
	err := change(a.cfg.Cluster)
	switch {
	case errors.Is(err, ErrNoNode):
		return errNoNode
	case errors.Is(err, ErrNodeAlive):
		return errNodeAlive
	case errors.Is(err, ErrRefused):
		return newError(http.StatusConflict, "plan_refused", err.Error())
	case err != nil:
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) deleteNode(c *call) error {
	return a.change(c, func(k Cluster) error { return k.Forget(c.r.Context(), c.r.PathValue("node")) })
}

func (a *API) putCopies(c *call) error {
	var body struct {
		Copies *int `json:"copies"`
	}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	if body.Copies == nil || *body.Copies < 0 {
		return invalid("copies", "not a number from 0 on")
	}
	return a.change(c, func(k Cluster) error { return k.SetCopies(c.r.Context(), *body.Copies) })
}

func (a *API) putDrain(c *call) error {
	return a.change(c, func(k Cluster) error { return k.Drain(c.r.Context(), c.r.PathValue("node")) })
}

func (a *API) deleteDrain(c *call) error {
	return a.change(c, func(k Cluster) error { return k.Undrain(c.r.Context(), c.r.PathValue("node")) })
}

func (a *API) putMove(c *call) error {
	partition, err := a.partition(c)
	if err != nil {
		return err
	}
	var body struct {
		From string `json:"from"`
		To   string `json:"to"`
	}
	if err := c.readJSON(smallBody, &body); err != nil {
		return err
	}
	return a.change(c, func(k Cluster) error { return k.Move(c.r.Context(), partition, body.From, body.To) })
}

func (a *API) deleteMove(c *call) error {
	partition, err := a.partition(c)
	if err != nil {
		return err
	}
	return a.change(c, func(k Cluster) error { return k.DropMove(c.r.Context(), partition) })
}
