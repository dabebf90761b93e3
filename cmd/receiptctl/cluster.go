package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"text/tabwriter"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/ctl"
)

// clusterCommands are those for several nodes on one log.
type clusterCommands struct {
	Status clusterStatusCommand `cmd:"" help:"Show the nodes of a cluster, and how far their copies are and whether they are the same."`
	Forget clusterForgetCommand `cmd:"" help:"Drop a node that will not come back: what only it needed may leave the log."`
}

type clusterStatusCommand struct {
	JSON bool `name:"json" help:"Print what GET /v1/cluster answers, and nothing else."`
}

func (c clusterStatusCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	var v cluster.View
	if err := client.Call(ctx, http.MethodGet, "/v1/cluster", nil, nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(v)
	}
	w := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "as node %s sees it\n\nNODE\tSTATE\tHEARD\tVERSION\n", v.Node)
	for _, n := range v.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%d ms ago\t%s\n", n.Node, n.State, n.HeardMS, n.Version)
	}
	fmt.Fprint(w, "\nPARTITION\tNODE\tSTATE\tFOLDED\tCOMPARED AT\tDIGEST\tCHAIN\n")
	for _, p := range v.Partitions {
		for _, x := range p.Copies {
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\t%s\n", p.Partition, x.Node, x.State, x.Applied, x.Sequence, x.Digest, x.Chain)
		}
	}
	return w.Flush()
}

type clusterForgetCommand struct {
	Node string `arg:"" help:"Name of the node."`
}

func (c clusterForgetCommand) Run(ctx context.Context, target ctl.Target, _ streams) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	answer, err := client.Stream(ctx, http.MethodDelete, "/v1/cluster/nodes/"+c.Node, nil, nil)
	if err != nil {
		return err
	}
	return answer.Close()
}
