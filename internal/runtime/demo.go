package runtime

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/ids"
	"github.com/receiptd/receiptd/internal/web/demo"
)

// demoTokenTTL is how long a visit of the demo page lasts at most.
const demoTokenTTL = 12 * time.Hour

// demoHost makes what the demo page needs. It is a [demo.Host].
type demoHost struct {
	core   *Core
	tokens *gateway.Tokens
	ids    *ids.Source
}

// Begin implements [demo.Host].
func (h *demoHost) Begin(ctx context.Context, users []string) (group string, tokens []string, err error) {
	_, _, err = h.core.folds().FindApp(demo.AppKey)
	if err != nil && !errors.Is(err, projector.ErrNoApp) {
		return "", nil, fmt.Errorf("find the demo's app: %w", err)
	}
	if err != nil {
		settings := events.DefaultSettings()
		settings.GroupReceipts.Enabled = true
		if _, err := h.core.Configure(ctx, demo.AppKey, settings); err != nil {
			return "", nil, fmt.Errorf("configure the demo's app: %w", err)
		}
	}
	group = strconv.FormatUint(h.ids.Next(), 10)
	ticket, err := h.core.Log.Submit(ctx, []events.Event{{
		Kind: events.GroupCreated, App: demo.AppKey, Group: group, User: users[0], Members: users[1:], Time: time.Now().UnixMilli(),
	}})
	if err != nil {
		return "", nil, fmt.Errorf("make the demo's group: %w", err)
	}
	outcomes, err := gateway.AwaitOutcomes(ctx, ticket, h.core.folds())
	if err != nil {
		return "", nil, fmt.Errorf("make the demo's group: %w", err)
	}
	if outcomes[0].Rejected() {
		return "", nil, fmt.Errorf("make the demo's group: %s", outcomes[0].Reason())
	}
	for _, user := range users {
		token, _, err := h.tokens.Mint(demo.AppKey, user, demoTokenTTL)
		if err != nil {
			return "", nil, fmt.Errorf("make a token: %w", err)
		}
		tokens = append(tokens, token)
	}
	return group, tokens, nil
}
