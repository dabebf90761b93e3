package httpapi

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// fakeCommands puts settings in force at once, and records what was seen.
type fakeCommands struct {
	state   *fakeState
	failure error

	mu   sync.Mutex
	seen []seenCall
}

type seenCall struct {
	app, user, device string
	upto              []uint64
}

func (c *fakeCommands) Configure(_ context.Context, app string, s events.Settings) (events.Settings, error) {
	c.state.mu.Lock()
	defer c.state.mu.Unlock()
	if c.failure != nil {
		return events.Settings{}, c.failure
	}
	c.state.settings[app] = s
	return s, nil
}

func (c *fakeCommands) ConfigureUser(ctx context.Context, app, user string, change gateway.UserSettingsChange) (projections.UserSettings, error) {
	w := change.Of(c.state.userSettings[in(app, user)])
	c.state.userSettings[in(app, user)] = w
	return w, c.failure
}

func (c *fakeCommands) ConfigureUserIn(ctx context.Context, app, group, peer, user string, change gateway.UserSettingsChange) (projections.UserSettings, error) {
	w, err := c.state.UserSettingsIn(app, group, peer, user)
	if err != nil {
		return w, err
	}
	c.state.userSettings[in(app, user, group, peer)] = change.Of(w)
	return change.Of(w), c.failure
}

func (c *fakeCommands) Seen(_ context.Context, app, user, device string, upto []uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, seenCall{app, user, device, upto})
	return c.failure
}

func (c *fakeCommands) seenCalls() []seenCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// fakeAnalytics answers with rows of a test, and records what it was asked last.
type fakeAnalytics struct {
	rows  []projections.RateRow
	total int
	err   error

	mu    sync.Mutex
	query projections.RateQuery
}

func (a *fakeAnalytics) Rates(_ context.Context, q projections.RateQuery) (gateway.Rates, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.query = q
	total := a.total
	if total == 0 {
		total = len(a.rows)
	}
	return gateway.Rates{Rows: a.rows, Total: total, Source: gateway.SourceClickHouse, AsOf: sentAt, BehindEntries: 3, BehindMS: 250}, a.err
}

func (a *fakeAnalytics) asked() projections.RateQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.query
}

// fakeNotary knows one partition of a log of two entries, and one receipt.
type fakeNotary struct{}

func (fakeNotary) Key() string { return "log+00000000+AQ==" }

func (fakeNotary) Checkpoint(partition int, size uint64) (string, error) {
	if partition != 0 || size > 2 {
		return "", merkle.ErrOutside
	}
	return fmt.Sprintf("log/%dof2\n%d\n", partition, size), nil
}

func (n fakeNotary) Consistency(partition int, from, to uint64) (c merkle.Consistency, err error) {
	c.Proof = []merkle.Hash{{byte(from)}, {byte(to)}}
	c.From, err = n.Checkpoint(partition, from)
	return c, err
}

func (n fakeNotary) Inclusion(partition int, sequence, size uint64) (i merkle.Inclusion, err error) {
	i.Sequence, i.Path = sequence, []merkle.Hash{}
	i.Checkpoint, err = n.Checkpoint(partition, size)
	return i, err
}

func (fakeNotary) Evidence(_ context.Context, c events.Conversation, message, user string, wholeEntry bool) ([]byte, error) {
	switch {
	case user == "long ago":
		return nil, eventlog.ErrTrimmed
	case user != "bob":
		return nil, projections.ErrNotFound
	}
	e := merkle.Evidence{App: c.App, Event: []byte(`{"message":"` + message + `","group":"` + c.Group + `"}`), Path: []merkle.Hash{}}
	if wholeEntry {
		e.Data = []byte("entry")
	}
	return e.Encode()
}
