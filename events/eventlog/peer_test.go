package eventlog_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
	"github.com/receiptd/receiptd/internal/lab/output"
)

// peers are the configurations of three processes that form a cluster.
func peers(t *testing.T) []eventlog.Config {
	t.Helper()
	return peersOf(t, 3)
}

func peersOf(t *testing.T, n int) (all []eventlog.Config) {
	t.Helper()
	routes := natstest.FreeAddresses(t, n)
	for i, addr := range routes {
		all = append(all, eventlog.Config{
			Node: string(rune('a' + i)), Partitions: 1, Replicas: 3, Logger: natstest.Logger(t),
			Peers: &eventlog.Peers{Dir: filepath.Join(t.TempDir(), "log"), Listen: addr, Routes: routes, Secret: "a secret: \"$x%y/z@"},
		})
	}
	return all
}

// Three processes and nothing else hold one log; with two of them it goes on, and the third one
// gets what it missed.
func TestPeersHoldTheLog(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	configs := peers(t)
	logs := make([]*eventlog.Log, 3)
	var group sync.WaitGroup
	for i := range logs {
		group.Go(func() { logs[i] = natstest.OpenLog(t, configs[i]) })
	}
	group.Wait()
	for i, log := range logs {
		if log.Identity() != logs[0].Identity() {
			t.Error("another log at each")
		}
		if _, err := log.Append(ctx, receipts(1, i)); err != nil {
			t.Fatal(err)
		}
	}
	natstest.CloseLog(t, logs[2])
	if _, err := logs[0].Append(ctx, receipts(1, 3)); err != nil {
		t.Fatal(err)
	}
	again := natstest.OpenLog(t, configs[2])
	if n := len(readAll(t, ctx, again, 0)); n != 4 {
		t.Errorf("%d events of 4", n)
	}
	other := configs[2]
	other.Node = "d"
	natstest.CloseLog(t, again)
	if l, err := eventlog.Open(ctx, other); err == nil {
		natstest.CloseLog(t, l)
		t.Error("the store of one node is taken by another one")
	}
}

// A log that has more replicas than are asked for keeps them, and whoever asks is told.
func TestMoreReplicasThanAreAskedForAreTold(t *testing.T) {
	t.Parallel()
	configs := peers(t)
	logs := make([]*eventlog.Log, 3)
	var group sync.WaitGroup
	for i := range logs {
		group.Go(func() { logs[i] = natstest.OpenLog(t, configs[i]) })
	}
	group.Wait()
	for _, asked := range []int{3, 1} {
		natstest.CloseLog(t, logs[2])
		var said output.Buffer
		configs[2].Replicas, configs[2].Logger = asked, slog.New(slog.NewTextHandler(&said, nil))
		logs[2] = natstest.OpenLog(t, configs[2])
		natstest.CloseLog(t, logs[2])
		if told := strings.Contains(said.String(), "more replicas than were asked for"); told != (asked < 3) {
			t.Errorf("%d replicas are asked for, of 3: %s", asked, said.String())
		}
	}
}

// A cluster would delete the log of a server that was alone, so it is refused, and left as it is;
// and the other way round.
func TestStoresOfServersAloneAndOfNodes(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	cfg := peers(t)[0]
	dir := cfg.Peers.Dir
	alone := natstest.OpenLog(t, eventlog.Config{Dir: dir, Partitions: 1})
	if _, err := alone.Append(ctx, receipts(3, 0)); err != nil {
		t.Fatal(err)
	}
	natstest.CloseLog(t, alone)
	if _, err := eventlog.Open(ctx, cfg); !errors.Is(err, eventlog.ErrStandalone) {
		t.Fatalf("a node on the store of a server that was alone: %v", err)
	}
	if n := len(readAll(t, ctx, natstest.OpenLog(t, eventlog.Config{Dir: dir, Partitions: 1}), 0)); n != 3 {
		t.Errorf("%d events of 3 are left", n)
	}

	fresh := peers(t)[0]
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := eventlog.Open(short, fresh); err == nil { // there is nobody to form a cluster with
		t.Fatal("a cluster of one")
	}
	if _, err := os.Stat(filepath.Join(fresh.Peers.Dir, "NODE")); err != nil {
		t.Fatal(err)
	}
	if _, err := eventlog.Open(ctx, eventlog.Config{Dir: fresh.Peers.Dir, Partitions: 1}); !errors.Is(err, eventlog.ErrPeer) {
		t.Errorf("a server that is alone on the store of a node: %v", err)
	}
}

// A node whose address another process has says so and ends, rather than wait for the others.
func TestPeerWhoseAddressIsTaken(t *testing.T) {
	t.Parallel()
	cfg := peers(t)[0]
	other, err := net.Listen("tcp", cfg.Peers.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if l, err := eventlog.Open(testContext(t), cfg); err == nil {
		natstest.CloseLog(t, l)
		t.Error("it is open")
	} else if !strings.Contains(err.Error(), cfg.Peers.Listen+": bind: address already in use") {
		t.Error(err)
	}
}

// Two of three nodes do not begin a cluster, and say what they wait for.
func TestNodesOfANewClusterSayThatAllAreNeeded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(testContext(t), 3*time.Second)
	defer cancel()
	var said output.Buffer
	configs := peers(t)[:2]
	configs[0].Logger = slog.New(slog.NewTextHandler(&said, nil))
	var group sync.WaitGroup
	for _, cfg := range configs {
		group.Go(func() {
			if l, err := eventlog.Open(ctx, cfg); err == nil {
				natstest.CloseLog(t, l)
				t.Error("it is open")
			}
		})
	}
	group.Wait()
	if !strings.Contains(said.String(), "a new cluster begins when all nodes of --cluster-routes are there") {
		t.Error(said.String())
	}
}

// What nats-server does not like in the routes is told without the secret in them.
func TestRefusedRoutesDoNotTellTheSecret(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"a secret: \"$x%y/z@", "a-plain-secret-of-all"} {
		cfg := peers(t)[0]
		cfg.Peers.Secret = secret
		cfg.Peers.Routes = append(cfg.Peers.Routes, cfg.Peers.Routes[0])
		_, err := eventlog.Open(testContext(t), cfg)
		if err == nil || !strings.Contains(err.Error(), cfg.Peers.Routes[0]) {
			t.Fatal(err)
		}
		if strings.Contains(err.Error(), "secret") { // which both hold, in a URL too
			t.Error(err)
		}
	}
}

// A second process with a node's name is refused before its server is one of the cluster's, and
// says who has the name. The others do not notice.
func TestPeersHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) { checkNames(t, peers(t)) })
	t.Run("TLS", func(t *testing.T) {
		configs, authority := peers(t), natstest.NewAuthority(t)
		for i := range configs {
			configs[i].Peers.TLS = peerTLS(authority)
		}
		checkNames(t, configs)
	})
}

func checkNames(t *testing.T, configs []eventlog.Config) {
	t.Helper()
	ctx := testContext(t)
	logs := make([]*eventlog.Log, 3)
	var group sync.WaitGroup
	for i := range logs {
		group.Go(func() { logs[i] = natstest.OpenLog(t, configs[i]) })
	}
	group.Wait()
	own := *configs[2].Peers
	twin := configs[2]
	twin.Peers = &own
	own.Dir, own.Listen = filepath.Join(t.TempDir(), "log"), natstest.FreeAddresses(t, 1)[0]
	switch l, err := eventlog.Open(ctx, twin); {
	case err == nil:
		_ = l.Close(ctx)
		t.Error("two have the name c")
	case !errors.Is(err, eventlog.ErrNodeName) || !strings.Contains(err.Error(), "c has the NATS server at "+configs[2].Peers.Listen):
		t.Error(err)
	}
	for i, log := range logs {
		if _, err := log.Append(ctx, receipts(1, i)); err != nil {
			t.Error(err)
		}
	}
}

// A node that will not come back is taken out of the servers' cluster: its successor, of another
// name, gets its copies, and one more may be away then. It is known by its name, and to servers
// that never heard of it by its number.
func TestPeersForgetANode(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	configs := peersOf(t, 4)
	logs := make([]*eventlog.Log, 4)
	open := func(list ...int) {
		var group sync.WaitGroup
		for _, i := range list {
			group.Go(func() { logs[i] = natstest.OpenLog(t, configs[i]) })
		}
		group.Wait()
	}
	open(0, 1, 2, 3)
	if _, err := logs[0].Append(ctx, receipts(1, 0)); err != nil {
		t.Fatal(err)
	}
	natstest.CloseLog(t, logs[2])
	for _, i := range []int{0, 1, 3} { // none has heard of c any more
		natstest.CloseLog(t, logs[i])
	}
	open(0, 1, 3)
	if err := logs[3].ForgetPeer(ctx, "x"); err != nil {
		t.Errorf("who was no member: %v", err)
	}
	for range 2 {
		if err := logs[0].ForgetPeer(ctx, "c"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := logs[0].Append(ctx, receipts(1, 1)); err != nil {
		t.Fatal(err)
	}
	// Of a, b and d any may be away.
	for _, away := range []int{0, 1, 3} {
		for logs[3].InSync(ctx, t) < 3 {
			time.Sleep(100 * time.Millisecond)
		}
		natstest.CloseLog(t, logs[away])
		for _, i := range []int{0, 1, 3} {
			if i != away {
				if _, err := logs[i].Append(ctx, receipts(1, 10*away+i)); err != nil {
					t.Fatalf("without %s, at %s: %v", configs[away].Node, configs[i].Node, err)
				}
			}
		}
		open(away)
	}
	if n := len(readAll(t, ctx, logs[3], 0)); n != 8 {
		t.Errorf("%d events of 8", n)
	}
}
