package day

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/ctl"
)

// Pouring says how a day is poured into a server.
type Pouring struct {
	Server *ctl.Client
	// For is how long the day takes; 0 = as long as the server does.
	For time.Duration
	// Rate is how many events are sent a second, whatever time of the day it is; 0 = by For.
	Rate float64
	// Existing allows apps that exist, which then get the day's settings and groups.
	Existing bool
	// Report is told how far the day has come, from 0 to 1, and how many events were answered.
	Report func(part float64, done int)
}

// Result is what became of a day.
type Result struct {
	// Apps are their names, "org/app".
	Apps []string `json:"apps"`
	// Events is how many were sent, and Outcomes how many had which outcome.
	Events   int            `json:"events"`
	Outcomes map[string]int `json:"outcomes"`
	// Group and Message are what to look at first, in the first app.
	Group   string `json:"group"`
	Message string `json:"message"`
	// Waiting is a user of the first app who has not seen Changes of their messages yet.
	Waiting string `json:"waiting"`
	Changes int    `json:"changes"`
	// Seconds is how long it took.
	Seconds float64 `json:"seconds"`
}

// ErrExists is the error for an app that exists and may not be touched.
var ErrExists = errors.New("the app exists, and would get other settings and many events")

const (
	// most events of one request.
	most = 500
	// tick is how often events are sent on a schedule.
	tick = 50 * time.Millisecond
	// patience bounds how long a request is sent again while the server has no time for it.
	patience = time.Minute
	// seeing is when most authors look at their summaries, and authors how many of an app do.
	seeing  = 0.9
	authors = 50
)

// pour is a day on its way into a server.
type pour struct {
	Pouring
	plan   *Plan
	began  time.Time
	saw    bool
	queued map[string][]json.RawMessage
	sent   map[string]int // messages of users, by app and user
	result Result
}

// Pour configures the apps and sends the day. The error is [ErrExists], before anything is
// changed, if one of the apps exists and that is not allowed.
func (o Pouring) Pour(ctx context.Context, plan *Plan) (Result, error) {
	p := &pour{Pouring: o, plan: plan, began: time.Now(), queued: map[string][]json.RawMessage{}, sent: map[string]int{}}
	p.result.Outcomes = map[string]int{}
	err := p.prepare(ctx)
	for err == nil && plan.Progress() < 1 {
		err = p.step(ctx)
	}
	if err == nil {
		err = p.conclude(ctx)
	}
	p.result.Seconds = time.Since(p.began).Seconds()
	return p.result, err
}

// prepare makes the apps and the settings of those who hide their reads.
func (p *pour) prepare(ctx context.Context) error {
	existing, err := p.Server.Apps(ctx)
	if err != nil {
		return err
	}
	for _, a := range p.plan.Apps() {
		if !p.Existing && slices.Contains(existing, a.Name) {
			return fmt.Errorf("%w: %s; nothing was done", ErrExists, a.Name)
		}
	}
	for _, a := range p.plan.Apps() {
		p.result.Apps = append(p.result.Apps, a.Name)
		if err := p.call(ctx, request{method: "PUT", app: a.Name, body: a.Settings}, nil); err != nil {
			return err
		}
		for _, user := range a.Hiding {
			hide := request{method: "PUT", app: a.Name, path: "/users/" + url.PathEscape(user) + "/settings", body: map[string]bool{"send_read_receipts": false}}
			if err := p.call(ctx, hide, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// step sends what is due.
func (p *pour) step(ctx context.Context) error {
	for n := 0; n < 4*most && p.due(); n++ {
		e, ok := p.plan.Next()
		if !ok {
			break
		}
		if e.Kind == events.MessageSent {
			p.sent[e.App+" "+e.User]++
		}
		p.queued[e.App] = append(p.queued[e.App], events.AppendJSON(nil, &e))
	}
	for _, app := range p.result.Apps {
		for some := range slices.Chunk(p.queued[app], most) {
			if err := p.send(ctx, app, some); err != nil {
				return err
			}
		}
		delete(p.queued, app)
	}
	part := p.plan.Progress()
	if p.Report != nil {
		p.Report(part, p.result.Events)
	}
	if part > seeing && !p.saw {
		p.saw = true
		if err := p.see(ctx); err != nil {
			return err
		}
	}
	wait := tick
	if p.For == 0 && p.Rate == 0 {
		wait = 0
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("stopped at %.0f %% of the day: %w", 100*part, context.Cause(ctx))
	case <-time.After(wait):
		return nil
	}
}

// due reports whether it is time for the next event.
func (p *pour) due() bool {
	took := time.Since(p.began)
	switch {
	case p.Rate > 0:
		waiting := 0
		for _, list := range p.queued {
			waiting += len(list)
		}
		return float64(p.result.Events+waiting) < p.Rate*took.Seconds()
	case p.For > 0:
		return p.plan.Progress() <= float64(took)/float64(p.For)
	}
	return true
}

// send sends events of an app, and counts their outcomes.
func (p *pour) send(ctx context.Context, app string, some []json.RawMessage) error {
	var answer struct {
		Outcomes []struct {
			Outcome string `json:"outcome"`
		} `json:"outcomes"`
	}
	if err := p.call(ctx, request{"POST", app, "/events", url.Values{"wait": {"applied"}}, some}, &answer); err != nil {
		return err
	}
	p.result.Events += len(some)
	for _, x := range answer.Outcomes {
		p.result.Outcomes[x.Outcome]++
	}
	return nil
}

// summary is what the server has for an author.
type summary struct {
	GroupAck []json.RawMessage `json:"group_ack"`
	Cursor   string            `json:"cursor"`
}

// see has most of the authors who sent much look at their summaries. The others stay away.
func (p *pour) see(ctx context.Context) error {
	for _, app := range p.result.Apps {
		for k, user := range p.authors(app) {
			if k%4 == 0 {
				continue
			}
			path := "/users/" + url.PathEscape(user) + "/statistics"
			var s summary
			if err := p.call(ctx, request{method: "GET", app: app, path: path}, &s); err != nil {
				return err
			}
			if err := p.call(ctx, request{method: "POST", app: app, path: path + ":ack", body: map[string]string{"cursor": s.Cursor}}, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// authors are users who sent much, those who sent most first.
func (p *pour) authors(app string) (list []string) {
	for key := range p.sent {
		if user, ok := strings.CutPrefix(key, app+" "); ok {
			list = append(list, user)
		}
	}
	slices.SortFunc(list, func(x, y string) int {
		if n := p.sent[app+" "+y] - p.sent[app+" "+x]; n != 0 {
			return n
		}
		return strings.Compare(x, y)
	})
	return list[:min(authors, len(list))]
}

// conclude finds what there is to look at.
func (p *pour) conclude(ctx context.Context) error {
	p.result.Group, p.result.Message = p.plan.popular()
	app := p.result.Apps[0]
	for k, user := range p.authors(app) {
		if k%4 != 0 {
			continue
		}
		var s summary
		if err := p.call(ctx, request{method: "GET", app: app, path: "/users/" + url.PathEscape(user) + "/statistics"}, &s); err != nil {
			return err
		}
		if n := len(s.GroupAck); n > p.result.Changes {
			p.result.Waiting, p.result.Changes = user, n
		}
	}
	return nil
}

// request is what is asked of the server, at a path of an app.
type request struct {
	method, app, path string
	query             url.Values
	body              any
}

// call makes a request, again and again while the server has no time for it: whatever is sent may
// be sent twice.
func (p *pour) call(ctx context.Context, r request, out any) error {
	root, err := ctl.AppPath(r.app)
	if err != nil {
		return err
	}
	wait := backoff.NewExponentialBackOff(backoff.WithMaxElapsedTime(patience))
	return backoff.Retry(func() error {
		err := p.Server.Call(ctx, r.method, root+r.path, r.query, r.body, out)
		var answer *ctl.Error
		if err != nil && !(errors.As(err, &answer) && answer.Temporary()) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(wait, ctx))
}
