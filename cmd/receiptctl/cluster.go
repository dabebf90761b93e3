package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	fmt.Fprintf(w, "as node %s sees it; level %d of the rules is in force\n\nNODE\tSTATE\tHEARD\tVERSION\tKNOWS LEVEL\n", v.Node, v.RulesLevel)
	for _, n := range v.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%d ms ago\t%s\t%d\n", n.Node, n.State, n.HeardMS, n.Version, n.MaxRulesLevel)
	}
	fmt.Fprint(w, "\nPARTITION\tNODE\tSTATE\tFOLDED\tCOMPARED AT\tDIGEST\tCHAIN\n")
	for _, p := range v.Partitions {
		for _, x := range p.Copies {
			fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%s\t%s\n", p.Partition, x.Node, x.State, x.Applied, x.Sequence, x.Digest, x.Chain)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return showSnapshots(std.out, v.Partitions)
}

// showSnapshots lists the newest snapshot of each partition that has one.
func showSnapshots(out io.Writer, partitions []cluster.PartitionView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "\nPARTITION\tSNAPSHOT AT\tMADE\tBYTES\tDIGEST\n"
	for _, p := range partitions {
		if s, ok := p.Snapshot.(map[string]any); ok {
			fmt.Fprint(w, head)
			head = ""
			fmt.Fprintf(w, "%d\t%.0f\t%v\t%.0f\t%v\n", p.Partition, s["sequence"], s["made"], s["bytes"], s["digest"])
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
