package natstest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// StartCluster starts servers that form one JetStream cluster, and waits until it works.
func StartCluster(t testing.TB, size int) []*Server {
	t.Helper()
	routes := make([]*url.URL, size)
	ports := make([]int, size)
	for i, addr := range FreeAddresses(t, 2*size) {
		if i < size {
			routes[i] = &url.URL{Scheme: "nats", Host: addr}
		} else if _, port, err := net.SplitHostPort(addr); err != nil {
			t.Fatalf("natstest: %v", err)
		} else if _, err := fmt.Sscan(port, &ports[i-size]); err != nil {
			t.Fatalf("natstest: %v", err)
		}
	}
	servers := make([]*Server, size)
	for i := range servers {
		servers[i] = StartServer(t, func(o *server.Options) {
			o.ServerName, o.Port = fmt.Sprintf("s%d", i), ports[i]
			host, port, err := net.SplitHostPort(routes[i].Host)
			if err == nil {
				_, err = fmt.Sscan(port, &o.Cluster.Port)
			}
			if err != nil {
				t.Fatalf("natstest: %v", err)
			}
			o.Cluster.Name, o.Cluster.Host = "test", host
			o.Routes = routes
		})
	}
	AwaitCluster(t, servers)
	return servers
}

// AwaitCluster waits until every server of a cluster can be a replica of a stream.
func AwaitCluster(t testing.TB, servers []*Server) {
	t.Helper()
	js := servers[0].JetStream()
	cfg := jetstream.StreamConfig{Name: "probe", Replicas: len(servers)}
	for end := time.Now().Add(stepTimeout); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := js.CreateStream(ctx, cfg)
		if err == nil {
			err = js.DeleteStream(ctx, cfg.Name)
		}
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("natstest: the cluster does not work: %v", err)
		}
	}
}

// ClusterURL names all servers of a cluster.
func ClusterURL(servers []*Server) string {
	urls := make([]string, len(servers))
	for i, s := range servers {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}
