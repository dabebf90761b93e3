package clients

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
)

// FloodOptions of a run of [Floods].
type FloodOptions struct {
	// Server is measured. The run creates two apps of its own on it, which stay.
	Server *ctl.Client
	// Duration of each flood, and of the calm before and after it.
	Duration time.Duration
	// Flooders are the connections of a flood, Sockets the idle ones.
	Flooders, Sockets int
	// Messages wait in the quiet tenant's inbox meanwhile.
	Messages int
	// Phase, if not nil, is called with the name of each flood as it begins.
	Phase func(name string)
}

// FloodResult is what receiptctl bench floods --json prints.
type FloodResult struct {
	Floods []Flood `json:"floods"`
	// Waiting messages of the quiet tenant were sent before the floods; Arrived came after them.
	Waiting int `json:"waiting"`
	Arrived int `json:"arrived"`
}

// Flood is how the quiet tenant fares before, during and after one kind of flood.
type Flood struct {
	Name string `json:"name"`
	floodAnswers
	Before Calm `json:"before"`
	During Calm `json:"during"`
	After  Calm `json:"after"`
}

// Calm are the quiet tenant's requests: an event, answered when it is folded, a login with a
// password and one over the WebSocket, one after the other. Latencies of all three together are in
// milliseconds.
type Calm struct {
	Asked  int     `json:"asked"`
	Failed int     `json:"failed"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
}

// floods is a run in progress.
type floods struct {
	o           FloodOptions
	quiet, loud string // paths of the apps, without /v1/apps
	mallory     string // a token
	n           int    // events of the quiet tenant
}

// Floods measures. The program has to call [FloodIfAsked], as it is started once more for each
// flood. It fails if a message of the quiet tenant is missing in the end.
func Floods(ctx context.Context, o FloodOptions) (result FloodResult, err error) {
	name := strconv.FormatInt(time.Now().UnixMilli(), 36)
	f := &floods{o: o, quiet: "/bench/quiet-" + name, loud: "/bench/loud-" + name}
	if err := f.setUp(ctx); err != nil {
		return result, fmt.Errorf("bench floods: set up: %w", err)
	}
	if err := f.leave(ctx); err != nil {
		return result, fmt.Errorf("bench floods: messages that wait: %w", err)
	}
	result.Waiting = o.Messages
	for kind, x := range floodKinds {
		if o.Phase != nil {
			o.Phase(x.name)
		}
		flood, err := f.measure(ctx, kind)
		if err != nil {
			return result, fmt.Errorf("bench floods: %s: %w", x.name, err)
		}
		result.Floods = append(result.Floods, flood)
	}
	if result.Arrived, err = f.fetch(ctx); err == nil && result.Arrived != result.Waiting {
		err = fmt.Errorf("of %d messages that waited %d are there", result.Waiting, result.Arrived)
	}
	if err != nil {
		err = fmt.Errorf("bench floods: %w", err)
	}
	return result, err
}

func (f *floods) api(ctx context.Context, method, path string, in, out any) error {
	return f.o.Server.Call(ctx, method, path, nil, in, out)
}

func (f *floods) setUp(ctx context.Context) error {
	for _, app := range []string{f.quiet, f.loud} {
		if err := f.api(ctx, "PUT", "/v1/apps"+app, map[string]any{"open_registration": true}, nil); err != nil {
			return err
		}
	}
	if err := f.api(ctx, "POST", f.quiet+"/users", map[string]string{"username": "cleo", "password": "a good password"}, nil); err != nil {
		return err
	}
	members := make([]string, floodMembers)
	for i := range members {
		members[i] = fmt.Sprint("invented", i)
	}
	group := map[string]any{"type": "group.created", "group": "crowd", "owner": "mallory", "members": members}
	if err := f.o.Server.Call(ctx, "POST", "/v1/apps"+f.loud+"/events", url.Values{"wait": {"applied"}}, group, nil); err != nil {
		return err
	}
	var err error
	f.mallory, err = f.token(ctx, f.loud, "mallory")
	return err
}

func (f *floods) token(ctx context.Context, app, user string) (string, error) {
	var answer struct{ Token string }
	err := f.api(ctx, "POST", "/v1/apps"+app+"/users/"+user+"/tokens", struct{}{}, &answer)
	return answer.Token, err
}

// connect logs in over the WebSocket.
func (f *floods) connect(ctx context.Context, app, user string) (*client, error) {
	token, err := f.token(ctx, app, user)
	if err != nil {
		return nil, err
	}
	return dial(ctx, socket(f.o.Server.URL("")), appKey(app), user, token)
}

// socket is where a server's WebSockets are opened.
func socket(base *url.URL) string {
	u := base.JoinPath("/websocket")
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	return u.String()
}

// appKey is the key of the app of a path.
func appKey(path string) string { return strings.Replace(path[1:], "/", "#", 1) }

// follow has a client count the messages that it is sent until there are as many as wanted, and
// returns how many there are when it has waited long enough.
func follow(ctx context.Context, c *client, want int, meanwhile func() error) (int, error) {
	following, stop := context.WithTimeout(ctx, arriveTime)
	defer stop()
	ids := map[uint64]bool{} // of the reading goroutine
	c.onText = func(_ *client, id uint64, _ *msyncpb.Body) {
		if ids[id] = true; len(ids) == want {
			stop()
		}
	}
	c.onReceipt, c.onRefusal = func(*msyncpb.Body) {}, func(string) {}
	var running sync.WaitGroup
	running.Go(func() { _ = c.run(following) }) // what is missing tells
	var err error
	if meanwhile != nil {
		if err = meanwhile(); err != nil {
			stop()
		}
	}
	running.Wait()
	return len(ids), err
}

// leave has ann write to ben, who is away, and waits until her other device has it all.
func (f *floods) leave(ctx context.Context) error {
	ann, err := f.connect(ctx, f.quiet, "ann")
	if err != nil {
		return err
	}
	token, err := f.token(ctx, f.quiet, "ann")
	if err != nil {
		return err
	}
	other, err := dialAs(ctx, socket(f.o.Server.URL("")), appKey(f.quiet), "ann", token, "other")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	n, err := follow(ctx, other, f.o.Messages, func() error {
		ann.onText, ann.onReceipt, ann.onRefusal = func(*client, uint64, *msyncpb.Body) {}, func(*msyncpb.Body) {}, func(string) {}
		go func() { _ = ann.run(ctx) }() // ends with the context
		for range f.o.Messages {
			if err := ann.text(ctx, "ben", false); err != nil {
				return err
			}
			if err := sleep(ctx, 10*time.Millisecond); err != nil { // as much as a user may send
				return err
			}
		}
		return nil
	})
	if err == nil && n != f.o.Messages {
		err = fmt.Errorf("%d of %d were sent", n, f.o.Messages)
	}
	return err
}

// fetch logs ben in and returns how many messages he gets.
func (f *floods) fetch(ctx context.Context) (int, error) {
	ben, err := f.connect(ctx, f.quiet, "ben")
	if err != nil {
		return 0, err
	}
	return follow(ctx, ben, f.o.Messages, nil)
}

// measure has the quiet tenant ask before, during and after a flood.
func (f *floods) measure(ctx context.Context, kind int) (x Flood, err error) {
	x.Name = floodKinds[kind].name
	x.Before = f.ask(ctx)
	flood, err := startFlood(ctx, floodOrder{
		Kind: kind, Server: f.o.Server.URL("").String(), App: f.loud, Token: f.mallory, Flooders: f.o.Flooders, Sockets: f.o.Sockets,
	})
	if err != nil {
		return x, err
	}
	x.During = f.ask(ctx)
	if x.floodAnswers, err = flood.end(); err != nil {
		return x, err
	}
	x.After = f.ask(ctx)
	if x.Before.Failed > 0 {
		err = errors.New("requests of the quiet tenant failed before the flood")
	}
	if x.Answered+x.Refused == 0 {
		err = errors.Join(err, errors.New("nothing was answered, so there was no flood"))
	}
	return x, errors.Join(err, ctx.Err())
}

// ask is the quiet tenant for as long as a phase lasts.
func (f *floods) ask(ctx context.Context) (c Calm) {
	var took measure.Samples
	once := func(do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		began := time.Now()
		c.Asked++
		if do(ctx) != nil {
			c.Failed++
		}
		took.Add(time.Since(began)) // what fails counts for as long as it took
	}
	for end := time.Now().Add(f.o.Duration); time.Now().Before(end) && ctx.Err() == nil; {
		f.n++
		once(func(ctx context.Context) error {
			event := map[string]any{"type": "message.sent", "id": fmt.Sprint("q", f.n), "from": "ann", "peer": "cleo"}
			return f.o.Server.Call(ctx, "POST", "/v1/apps"+f.quiet+"/events", url.Values{"wait": {"applied"}}, event, nil)
		})
		once(func(ctx context.Context) error {
			return f.api(ctx, "POST", f.quiet+"/token", map[string]string{"grant_type": "password", "username": "cleo", "password": "a good password"}, nil)
		})
		once(func(ctx context.Context) error {
			c, err := f.connect(ctx, f.quiet, "cleo")
			if err == nil {
				_ = c.conn.CloseNow()
			}
			return err
		})
		if sleep(ctx, 20*time.Millisecond) != nil {
			break
		}
	}
	c.P50, c.P99 = took.Quantile(0.5), took.Quantile(0.99)
	return c
}
