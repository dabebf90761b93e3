package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/cluster"
)

const (
	// patience is how long all nodes together may take to answer. One that is gone costs nothing,
	// since nobody listens; one that stands still costs it until it is heard of no more.
	patience = time.Second
	// atOnce bounds the users that a question names, so that it goes in a message.
	atOnce = 500
)

// Sessions are the connections of users to this node. [msync.Server] has them.
type Sessions interface {
	// OnlineHere reports whether a user is connected to this node.
	OnlineHere(app, user string) bool
	// RenewHere lets a user's connections to this node last until a later time.
	RenewHere(app, user string, expires time.Time)
}

// Options are what an [OtherNodes] is made of. All are required.
type Options struct {
	// Node is the name that others ask this node by, and Others are the names of the nodes that are
	// heard of.
	Node   string
	Others func() []string
	Bus    cluster.Bus

	Registerer prometheus.Registerer
}

// OtherNodes asks the other nodes. Its methods may be called from many goroutines.
type OtherNodes struct {
	o     Options
	asked *prometheus.CounterVec
}

// Results of what is counted.
const (
	answered   = "answered"
	unanswered = "unanswered"
)

// New makes the other nodes known.
func New(o Options) *OtherNodes {
	e := &OtherNodes{o: o, asked: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "receiptd_cluster_whereabouts_total",
		Help: "Nodes that this one asked about connections of users with the SDK, by whether they answered in time. Users of one that did not count as offline.",
	}, []string{"result"})}
	for _, result := range []string{answered, unanswered} {
		e.asked.WithLabelValues(result)
	}
	o.Registerer.MustRegister(e.asked)
	return e
}

// Run answers the other nodes until the context ends.
func (e *OtherNodes) Run(ctx context.Context, sessions Sessions) error {
	stop, err := e.o.Bus.Answer(e.o.Node, func(text []byte) []byte { return answer(sessions, text) })
	if err != nil {
		return fmt.Errorf("answer where users are: %w", err)
	}
	<-ctx.Done()
	stop()
	return nil
}

// Online returns those of an app's users who are connected to another node, in the order in which
// they are named. It takes as long as the slowest node that is heard of, and a second at most.
func (e *OtherNodes) Online(ctx context.Context, app string, users []string) []string {
	if len(users) == 0 {
		return nil
	}
	var mu sync.Mutex
	found := make(map[string]bool)
	e.each(ctx, func(ctx context.Context, node string) error {
		for some := range slices.Chunk(users, atOnce) {
			x, err := e.ask(ctx, node, &question{App: app, Users: some})
			if err != nil {
				return err
			}
			mu.Lock()
			for _, i := range x.Online {
				found[some[i]] = true
			}
			mu.Unlock()
		}
		return nil
	})
	return slices.DeleteFunc(slices.Clone(users), func(user string) bool { return !found[user] })
}

// Renew lets the connections of a user to other nodes last until a later time. To a node that does
// not answer they end when they would have.
func (e *OtherNodes) Renew(ctx context.Context, app, user string, expires time.Time) {
	until := expires.UnixMilli()
	e.each(ctx, func(ctx context.Context, node string) error {
		_, err := e.ask(ctx, node, &question{App: app, Users: []string{user}, Until: until})
		return err
	})
}

// each asks all nodes at the same time, and waits for their answers, as long as patience lasts.
func (e *OtherNodes) each(ctx context.Context, f func(ctx context.Context, node string) error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var asking sync.WaitGroup
	for _, node := range e.o.Others() {
		asking.Go(func() {
			result := answered
			if f(ctx, node) != nil {
				result = unanswered
			}
			e.asked.WithLabelValues(result).Inc()
		})
	}
	asking.Wait()
}

func (e *OtherNodes) ask(ctx context.Context, node string, q *question) (x reply, err error) {
	text, err := json.Marshal(q)
	if err == nil {
		text, err = e.o.Bus.Ask(ctx, node, text)
	}
	if err == nil {
		x, err = parseReply(text, len(q.Users))
	}
	return x, err
}
