package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/ctl"
)

// clusterCommands are those for several nodes on one log.
type clusterCommands struct {
	Status clusterStatusCommand `cmd:"" help:"Show the nodes of a cluster, and how far their copies are and whether they are the same."`
	Forget clusterForgetCommand `cmd:"" help:"Drop a node that will not come back: what only it needed may leave the log."`

	Copies  clusterCopiesCommand  `cmd:"" help:"Say how many nodes fold each partition."`
	Drain   clusterDrainCommand   `cmd:"" help:"Have a node have no copies: others fold them first. It goes on serving its users."`
	Undrain clusterUndrainCommand `cmd:"" help:"Have a drained node have its share of the copies again."`
	Move    clusterMoveCommand    `cmd:"" help:"Have one node fold a partition in the place of another one."`
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
	fmt.Fprintf(w, "as node %s sees it; level %d of the rules is in force; %s\n\nNODE\tSTATE\tHEARD\tVERSION\tKNOWS LEVEL\n", ctl.TerminalSafe(v.Node), v.RulesLevel, copiesWanted(v))
	for _, n := range v.Nodes {
		state := n.State
		if n.Drained {
			state += " (drained)"
		}
		fmt.Fprintln(w, columns(n.Node, state, ago(n.HeardMS), orDash(n.Version), orDash(n.MaxRulesLevel)))
	}
	fmt.Fprint(w, "\nPARTITION\tNODE\tSTATE\tFOLDED\tCOMPARED AT\tDIGEST\tCHAIN\n")
	for _, p := range v.Partitions {
		for _, x := range p.Copies {
			state := x.State
			if !slices.Contains(p.Wanted, x.Node) {
				state += " (not wanted)"
			}
			fmt.Fprintln(w, columns(p.Partition, x.Node, state, x.Applied, x.Sequence, x.Digest, x.Chain))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	showTrouble(std.out, v.Nodes)
	showMoves(std.out, v)
	return showSnapshots(std.out, v.Partitions)
}

// ago is for how long ago something was, in milliseconds.
func ago(ms int64) string {
	if ms < 10_000 {
		return fmt.Sprint(ms, " ms ago")
	}
	return (time.Duration(ms) * time.Millisecond).Round(time.Second).String() + " ago"
}

// orDash shows what is not known as such.
func orDash[V comparable](v V) string {
	var unknown V
	if v == unknown {
		return "-"
	}
	return fmt.Sprint(v)
}

// showTrouble says why nodes are not ready, and what is to be done about those that are silent.
func showTrouble(out io.Writer, nodes []cluster.NodeView) {
	for i := range nodes {
		n := &nodes[i]
		name := ctl.TerminalSafe(n.Node)
		if n.Problem != "" {
			fmt.Fprintf(out, "\n%s is not ready: %s\n", name, ctl.TerminalSafe(n.Problem))
		}
		if n.State == cluster.StateSilent {
			fmt.Fprintf(out, "\n%s is silent: nothing leaves the log until it is back; if it will not come back: receiptctl cluster forget %s\n", name, name)
		}
	}
}

// copiesWanted says how many nodes are to have each partition.
func copiesWanted(v cluster.View) string {
	switch v.Copies {
	case 0:
		return "every node folds everything"
	case 1:
		return "one node folds each partition"
	}
	return fmt.Sprintf("%d nodes fold each partition", v.Copies)
}

// showMoves lists the exceptions, and what is in the way of copies that are to come or to leave.
func showMoves(out io.Writer, v cluster.View) {
	for _, m := range v.Moves {
		fmt.Fprintf(out, "\npartition %d is to be on %s in the place of %s\n", m.Partition, ctl.TerminalSafe(m.To), ctl.TerminalSafe(m.From))
	}
	for _, p := range v.Partitions {
		for _, x := range p.Copies {
			if x.Stuck != "" {
				fmt.Fprintf(out, "\npartition %d on %s: %s\n", p.Partition, ctl.TerminalSafe(x.Node), ctl.TerminalSafe(x.Stuck))
			}
		}
	}
}

// showSnapshots lists the newest snapshot of each partition that has one.
func showSnapshots(out io.Writer, partitions []cluster.PartitionView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	head := "\nPARTITION\tSNAPSHOT AT\tMADE\tBYTES\tDIGEST\n"
	for _, p := range partitions {
		if s, ok := p.Snapshot.(map[string]any); ok {
			fmt.Fprint(w, head)
			head = ""
			fmt.Fprintln(w, columns(p.Partition, fmt.Sprintf("%.0f", s["sequence"]), s["made"], fmt.Sprintf("%.0f", s["bytes"]), s["digest"]))
		}
	}
	return w.Flush()
}

type clusterForgetCommand struct {
	Node string `arg:"" help:"Name of the node."`
}

func (c clusterForgetCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	return clusterChange{http.MethodDelete, "/v1/cluster/nodes/" + url.PathEscape(c.Node), nil}.ask(ctx, target, std,
		c.Node+" is forgotten: what only it needed of the log may leave")
}

// clusterChange is a change that is answered by nothing but that it was made.
type clusterChange struct {
	method, path string
	body         any
}

// ask asks for the change, and says what comes of it.
func (c clusterChange) ask(ctx context.Context, target ctl.Target, std streams, next string) error {
	client, err := target.Client()
	if err != nil {
		return err
	}
	answer, err := client.Stream(ctx, c.method, c.path, nil, c.body)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, next)
	return answer.Close()
}

// howFar ends what is said of a change that takes its time.
const howFar = "; receiptctl cluster status shows how far that is"

type clusterCopiesCommand struct {
	Copies int `arg:"" help:"How many nodes; 0: all."`
}

func (c clusterCopiesCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	return clusterChange{http.MethodPut, "/v1/cluster/copies", map[string]int{"copies": c.Copies}}.ask(ctx, target, std,
		"from now on "+copiesWanted(cluster.View{Copies: c.Copies})+": copies that are missing come first, and then those leave that are too many"+howFar)
}

type clusterDrainCommand struct {
	Node string `arg:"" help:"Name of the node."`
}

func (c clusterDrainCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	return clusterChange{http.MethodPut, "/v1/cluster/nodes/" + url.PathEscape(c.Node) + "/drain", nil}.ask(ctx, target, std,
		c.Node+" is drained: its copies leave once others fold them and are the same, and it goes on serving its users"+howFar)
}

type clusterUndrainCommand struct {
	Node string `arg:"" help:"Name of the node."`
}

func (c clusterUndrainCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	return clusterChange{http.MethodDelete, "/v1/cluster/nodes/" + url.PathEscape(c.Node) + "/drain", nil}.ask(ctx, target, std,
		c.Node+" gets its share of the copies again, and others let go of theirs when it serves"+howFar)
}

type clusterMoveCommand struct {
	Partition int    `arg:"" help:"Number of the partition."`
	From      string `name:"from" placeholder:"NODE" help:"The node that is to have it no longer."`
	To        string `name:"to" placeholder:"NODE" help:"The node that is to have it."`
	Drop      bool   `name:"drop" help:"Drop the exceptions for the partition: it goes to where it would be."`
}

func (c clusterMoveCommand) Run(ctx context.Context, target ctl.Target, std streams) error {
	if named := c.From != "" && c.To != ""; named == c.Drop || (c.From == "") != (c.To == "") {
		return errors.New("move takes either --from and --to or --drop")
	}
	path := fmt.Sprintf("/v1/cluster/partitions/%d/move", c.Partition)
	if c.Drop {
		return clusterChange{http.MethodDelete, path, nil}.ask(ctx, target, std,
			fmt.Sprintf("partition %d goes to where it would be without exceptions%s", c.Partition, howFar))
	}
	return clusterChange{http.MethodPut, path, map[string]string{"from": c.From, "to": c.To}}.ask(ctx, target, std,
		fmt.Sprintf("partition %d is to be on %s, and leaves %s once it serves there%s", c.Partition, c.To, c.From, howFar))
}
