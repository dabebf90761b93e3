package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/receiptd/receiptd/consumers/analytics"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/copystate"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// rates answers questions about read rates: ClickHouse if there is one and it can, else the state
// or, if that is not wanted, nobody.
type rates struct {
	core *Core
	// filling is nil if there is no ClickHouse.
	filling  filler
	fallback bool
}

// filler fills ClickHouse. [analytics.Consumer] is one.
type filler interface {
	Prepared() bool
	Stats() []analytics.Stats
}

// clickhousePatience is how long ClickHouse is waited for where somebody else can answer.
const clickhousePatience = 10 * time.Second

// errNotPrepared is why ClickHouse is not asked.
var errNotPrepared = fmt.Errorf("%w: ClickHouse has not been prepared yet", projections.ErrRatesUnavailable)

// Rates implements [gateway.RateSource].
func (r *rates) Rates(ctx context.Context, q projections.RateQuery) (gateway.Rates, error) {
	if r.filling == nil {
		return r.embedded(ctx, q)
	}
	if !r.fallback {
		return r.clickhouse(ctx, q)
	}
	soon, cancel := context.WithTimeout(ctx, clickhousePatience)
	defer cancel()
	a, err := r.clickhouse(soon, q)
	if errors.Is(err, projections.ErrRatesUnavailable) && ctx.Err() == nil && q.BeyondRollup() == nil {
		a, err = r.embedded(ctx, q)
		a.Substitute = true
	}
	return a, err
}

func (r *rates) clickhouse(ctx context.Context, q projections.RateQuery) (gateway.Rates, error) {
	if !r.filling.Prepared() {
		return gateway.Rates{}, errNotPrepared
	}
	a := gateway.Rates{Source: gateway.SourceClickHouse}
	// Before the question, so that the answer is no older than is said.
	r.age(&a, func() (list []counted) {
		for _, s := range r.filling.Stats() {
			list = append(list, counted{s.Refreshed, s.RefreshedAt})
		}
		return list
	})
	page, err := r.core.Archive.ReadRates(ctx, q)
	a.Rows, a.Total = page.Rows, page.Total
	return a, err
}

func (r *rates) embedded(ctx context.Context, q projections.RateQuery) (gateway.Rates, error) {
	a := gateway.Rates{Source: gateway.SourceEmbedded}
	r.age(&a, func() (list []counted) {
		return r.core.folded()
	})
	page, err := r.core.readRates(ctx, q)
	a.Rows, a.Total = page.Rows, page.Total
	return a, err
}

// counted is how far something has counted a partition: to an entry, and the broker's time of it.
type counted struct {
	sequence uint64
	at       int64
}

// folded is how far the state has counted each partition. Of one that is not here it is known only
// up to where other nodes have said so, not when; whoever answers is about as far.
func (c *Core) folded() (list []counted) {
	var said []uint64
	if c.router != nil {
		said = c.router.Folded()
	}
	for k, s := range c.Projector.Stats() {
		x := counted{s.Sequence, s.Clock}
		if s.CopyState != copystate.Here && said != nil {
			x = counted{max(said[k], c.Log.Stats()[k].LastSequence), time.Now().UnixMilli()}
		}
		list = append(list, x)
	}
	return list
}

// readRates asks the state, here or at other nodes.
func (c *Core) readRates(ctx context.Context, q projections.RateQuery) (projections.RatePage, error) {
	if c.router != nil {
		return c.router.ReadRates(ctx, q)
	}
	return c.Projector.ReadRates(ctx, q)
}

// age says how old an answer is that is given now.
func (r *rates) age(a *gateway.Rates, counted func() []counted) {
	now := time.Now().UnixMilli()
	have := counted()
	a.AsOf = now
	folded := r.core.folded()
	for k, log := range r.core.Log.Stats() {
		if last := max(log.LastSequence, folded[k].sequence); last > have[k].sequence {
			a.BehindEntries += last - have[k].sequence
			a.AsOf = min(a.AsOf, have[k].at)
		}
	}
	if a.BehindEntries > 0 && a.AsOf > 0 {
		a.BehindMS = max(0, now-a.AsOf)
	}
}

// rates answers for the server.
func (s *Server) rates() *rates {
	r := &rates{core: s.Core, fallback: s.cfg.Analytics.Fallback == config.FallbackEmbedded}
	if s.analytics != nil {
		r.filling = s.analytics
	}
	return r
}
