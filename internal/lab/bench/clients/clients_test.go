package clients_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/ctl"
	"github.com/receiptd/receiptd/internal/lab/bench/clients"
	"github.com/receiptd/receiptd/internal/lab/bench/embedded"
)

func TestMain(m *testing.M) {
	clients.FloodIfAsked()
	os.Exit(m.Run())
}

// TestRun measures briefly. The run itself checks that every read reached its author and that the
// counts are right.
func TestRun(t *testing.T) {
	cfg := config.Default()
	cfg.Data, cfg.HTTP.Listen = t.TempDir(), "127.0.0.1:0"
	s, err := embedded.Start(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	server, err := ctl.NewClient("http://"+s.Addr().String(), s.AdminKey())
	if err != nil {
		t.Fatal(err)
	}
	for server.Call(ctx, "GET", "/readyz", nil, nil, nil) != nil {
		if ctx.Err() != nil {
			t.Fatal("never ready")
		}
		time.Sleep(10 * time.Millisecond)
	}
	o := clients.Options{Server: server, Clients: 24, Members: 6, Rate: 200, Duration: time.Second}
	r, err := clients.Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	for name, phase := range map[string]clients.Traffic{"single": r.Single, "group": r.Group} {
		if phase.Receipts != 200 || phase.P50 <= 0 || phase.P99 < phase.P50 || phase.Max < phase.P99 {
			t.Errorf("%s: %+v", name, phase)
		}
	}
	if r.Clients != 24 {
		t.Errorf("%+v", r)
	}
	f, err := clients.Floods(ctx, clients.FloodOptions{Server: server, Duration: 300 * time.Millisecond, Flooders: 2, Sockets: 20, Messages: 20})
	if err != nil {
		t.Error(err)
	}
	if len(f.Floods) != 5 || f.Arrived != 20 {
		t.Errorf("%+v", f)
	}
	for _, x := range f.Floods {
		if x.Before.Asked == 0 || x.During.Asked == 0 || x.After.Asked == 0 || x.During.P99 < x.During.P50 || x.During.P50 <= 0 {
			t.Errorf("%+v", x)
		}
	}
	o.Clients = 6
	if _, err := clients.Run(ctx, o); err == nil {
		t.Error("fewer clients than two groups")
	}
}
