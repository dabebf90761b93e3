package eventlog_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// outside is a log on an outside server behind a proxy.
type outside struct {
	server *natstest.Server
	proxy  *natstest.Proxy
	js     jetstream.JetStream // past the proxy
	hooks  eventlog.Hooks
	log    *eventlog.Log
}

func openOutside(t *testing.T, cfg eventlog.Config, hooks eventlog.Hooks) *outside {
	t.Helper()
	o := &outside{server: natstest.StartServer(t), hooks: hooks}
	o.proxy = natstest.StartProxy(t, o.server.Addr())
	o.js = o.server.JetStream()
	cfg.URL = o.proxy.URL()
	o.log = natstest.OpenLog(t, eventlog.WithHooks(cfg, hooks))
	return o
}

// openOther opens the same log past the proxy.
func (o *outside) openOther(t *testing.T) *eventlog.Log {
	return natstest.OpenLog(t, eventlog.WithHooks(eventlog.Config{URL: o.server.URL()}, o.hooks))
}

// last is the last sequence of partition 0 by the server itself.
func (o *outside) last(t *testing.T, ctx context.Context) uint64 {
	t.Helper()
	s, err := o.js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// empty replaces the stream of partition 0 by a new one.
func (o *outside) empty(t *testing.T, ctx context.Context) {
	t.Helper()
	s, err := o.js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.js.DeleteStream(ctx, "RECEIPTS_0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old store is gone", func() bool {
		_, err = o.js.CreateStream(ctx, s.CachedInfo().Config)
		return err == nil
	})
}
