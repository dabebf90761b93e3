package clients

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// Options of a run.
type Options struct {
	// Server is measured. The run creates an app of its own on it, which stays.
	Server *ctl.Client
	// Clients are the users, each with a connection.
	Clients int
	// Members of a group.
	Members int
	// Rate of receipts, delivered and read, a second.
	Rate float64
	// Duration of each of the two phases with traffic.
	Duration time.Duration
	// Phase, if not nil, is called with the name of each phase as it begins.
	Phase func(name string)
}

// Result is what receiptctl bench clients --json prints.
type Result struct {
	Clients int     `json:"clients"`
	Logins  float64 `json:"logins_per_s"`
	// IdleKiB is what a connection that does nothing adds to the server's resident memory.
	IdleKiB float64 `json:"idle_kib_per_connection"`
	// Single is traffic of single chats, each message delivered and read; Group that of groups,
	// each message read by all members.
	Single Traffic `json:"single"`
	Group  Traffic `json:"group"`
}

// Traffic describes a phase. Latency is the time from the sending of a read to its author's
// notification.
type Traffic struct {
	Receipts     int     `json:"receipts"`
	ReceiptsPerS float64 `json:"receipts_per_s"`
	MessagesPerS float64 `json:"messages_per_s"`
	Latency
}

const (
	loginsAtOnce = 64
	settleTime   = 3 * time.Second
	// arriveTime is how long the last receipts may take on a busy machine.
	arriveTime   = time.Minute
	countsAtOnce = 1000
)

// run is a measurement in progress.
type run struct {
	o       Options
	app     string // "org#app"
	path    string // of the app in the API
	clients []*client
	books   *books // the same for all phases
	result  Result
}

// Run measures. It fails if an author was not told of a read, or a count is wrong.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Members < 2 || o.Clients < 2*o.Members {
		return Result{}, fmt.Errorf("bench clients: %d clients are less than two groups of %d, or a group less than two", o.Clients, o.Members)
	}
	name := "clients-" + strconv.FormatInt(time.Now().UnixMilli(), 36)
	r := &run{o: o, app: "bench#" + name, path: "/v1/apps/bench/" + name, books: newBooks()}
	ctx, stop := context.WithCancel(ctx)
	connections, ctx := errgroup.WithContext(ctx)
	err := r.phases(ctx, connections)
	stop()
	if e := connections.Wait(); e != nil {
		err = e // the first of them is why the phase failed
	}
	if err != nil {
		return r.result, fmt.Errorf("bench clients: %w", err)
	}
	return r.result, nil
}

func (r *run) phases(ctx context.Context, connections *errgroup.Group) error {
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"set up", r.setUp},
		{"logins", func(ctx context.Context) error { return r.login(ctx, connections) }},
		{"single chats", func(ctx context.Context) error { return r.traffic(ctx, &r.result.Single, false) }},
		{"groups", func(ctx context.Context) error { return r.traffic(ctx, &r.result.Group, true) }},
	} {
		if r.o.Phase != nil {
			r.o.Phase(phase.name)
		}
		if err := phase.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", phase.name, err)
		}
	}
	return nil
}

func user(i int) string { return "user" + strconv.Itoa(i) }

// group is the name of the group that a client is in.
func (r *run) group(i int) string { return "group" + strconv.Itoa(i/r.o.Members) }

// setUp makes the app and its groups.
func (r *run) setUp(ctx context.Context) error {
	settings := map[string]any{"group_receipts": map[string]any{"enabled": true, "max_group_size": 0}}
	if err := r.o.Server.Call(ctx, "PUT", r.path, nil, settings, nil); err != nil {
		return err
	}
	var groups []map[string]any
	for first := 0; first < r.o.Clients; first += r.o.Members {
		var members []string
		for i := first + 1; i < min(first+r.o.Members, r.o.Clients); i++ {
			members = append(members, user(i))
		}
		groups = append(groups, map[string]any{"type": "group.created", "group": r.group(first), "owner": user(first), "members": members})
	}
	return r.o.Server.Call(ctx, "POST", r.path+"/events", url.Values{"wait": {"applied"}}, groups, nil)
}

// login connects all users and measures what that costs.
func (r *run) login(ctx context.Context, connections *errgroup.Group) error {
	tokens := make([]string, r.o.Clients)
	if err := r.each(ctx, func(ctx context.Context, i int) error {
		var answer struct{ Token string }
		err := r.o.Server.Call(ctx, "POST", r.path+"/users/"+user(i)+"/tokens", nil, struct{}{}, &answer)
		tokens[i] = answer.Token
		return err
	}); err != nil {
		return err
	}
	before, err := r.resident(ctx)
	if err != nil {
		return err
	}
	socket := r.o.Server.URL("/websocket")
	socket.Scheme = strings.Replace(socket.Scheme, "http", "ws", 1)
	r.clients = make([]*client, r.o.Clients)
	began := time.Now()
	if err := r.each(ctx, func(ctx context.Context, i int) (err error) {
		r.clients[i], err = dial(ctx, socket.String(), r.app, user(i), tokens[i])
		return err
	}); err != nil {
		return err
	}
	r.result.Clients, r.result.Logins = r.o.Clients, float64(r.o.Clients)/time.Since(began).Seconds()
	for _, c := range r.clients {
		c.onText = func(c *client, id uint64, body *msyncpb.Body) { r.reads(ctx, c, id, body) }
		c.onReceipt, c.onRefusal = r.books.notice, r.books.refusal
	}
	for _, c := range r.clients {
		connections.Go(func() error { return c.run(ctx) })
	}
	if err := sleep(ctx, settleTime); err != nil {
		return err
	}
	after, err := r.resident(ctx)
	r.result.IdleKiB = (after - before) / 1024 / float64(r.o.Clients)
	return err
}

// each calls do for each client, for several at a time.
func (r *run) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loginsAtOnce)
	for i := range r.o.Clients {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

// resident returns the server's resident memory in bytes.
func (r *run) resident(ctx context.Context) (float64, error) {
	text, err := r.o.Server.Stream(ctx, "GET", "/metrics", nil, nil)
	if err != nil {
		return 0, err
	}
	defer text.Close()
	for lines := bufio.NewScanner(text); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.New("the server does not say how much memory it uses")
}

// reads has a client answer a text as the SDK and its user do: delivered, in a single chat, and
// read at once.
func (r *run) reads(ctx context.Context, c *client, id uint64, body *msyncpb.Body) {
	to, group := body.GetFrom().GetName(), body.GetType() == int32(msyncpb.Body_GROUPCHAT)
	if to == c.user {
		return
	}
	if group {
		to = body.GetTo().GetName()
	} else {
		r.books.delivered()
		_ = c.receipt(ctx, msyncpb.Body_DELIVER_ACK, to, false, id) // a broken connection ends run
	}
	r.books.read(id)
	_ = c.receipt(ctx, msyncpb.Body_READ_ACK, to, group, id)
}

// traffic sends messages at an even rate, which yields receipts at the rate that was asked for, and
// waits for the last receipt. On a machine that is too busy for the rate all messages are sent too,
// only later.
func (r *run) traffic(ctx context.Context, t *Traffic, group bool) error {
	r.books.begin()
	perMessage := 2
	if group {
		perMessage = r.o.Members - 1
	}
	rate := r.o.Rate / float64(perMessage)
	began := time.Now()
	messages := int(rate * r.o.Duration.Seconds())
	for n := range messages {
		if err := sleep(ctx, time.Until(began.Add(time.Duration(float64(n)/rate*float64(time.Second))))); err != nil {
			return err
		}
		if err := r.write(ctx, n, group); err != nil {
			return err
		}
	}
	took := time.Since(began)
	if err := r.arrived(ctx, messages, group); err != nil {
		return err
	}
	t.Receipts, t.Latency = r.books.sent(), r.books.latency()
	t.ReceiptsPerS, t.MessagesPerS = float64(t.Receipts)/took.Seconds(), float64(messages)/took.Seconds()
	return r.check(ctx)
}

// write sends the n-th message. Users take turns, and write to their neighbour or to their group.
func (r *run) write(ctx context.Context, n int, group bool) error {
	if !group {
		i := (n * 7) % r.o.Clients
		return r.clients[i].text(ctx, user(i^1), false)
	}
	whole := r.o.Clients / r.o.Members // the last group may have fewer
	i := n%whole*r.o.Members + n/whole%r.o.Members
	return r.clients[i].text(ctx, r.group(i), true)
}

// arrived waits until every read has been told to its author.
func (r *run) arrived(ctx context.Context, messages int, group bool) error {
	want := messages
	if group {
		want *= r.o.Members - 1
	}
	for deadline := time.Now().Add(arriveTime); ; {
		sent, told := r.books.sums()
		if sent == want && told == want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("of %d reads %d were sent and %d told to their authors; refused: %v", want, sent, told, r.books.refusals())
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// check compares the server's counts with the reads that were sent.
func (r *run) check(ctx context.Context) error {
	reads := r.books.reads()
	for ids := range slices.Chunk(slices.Collect(maps.Keys(reads)), countsAtOnce) {
		var answer struct{ Counts map[string]struct{ Read int } }
		if err := r.o.Server.Call(ctx, "POST", r.path+"/messages:counts", nil, map[string]any{"ids": ids}, &answer); err != nil {
			return err
		}
		for _, id := range ids {
			if got := answer.Counts[id].Read; got != reads[id] {
				return fmt.Errorf("message %s has a count of %d, and was read by %d", id, got, reads[id])
			}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
