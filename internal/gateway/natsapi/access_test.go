package natsapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// Nobody has receiptd write to a subject of NATS or of the log.
func TestAnswersGoToInboxesOnly(t *testing.T) {
	server := natstest.StartServer(t)
	log := natstest.OpenLog(t, eventlog.Config{URL: server.URL(), Partitions: 1})
	conns, err := log.ConnectRequests(t.Context(), "door")
	if err != nil {
		t.Fatal(err)
	}
	door, err := New(Config{
		Conns: conns, Log: log, State: fakeState{}, Registerer: prometheus.NewRegistry(), Logger: natstest.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, reply := range []string{"$JS.API.STREAM.PURGE.RECEIPTS_0", events.BatchSubject(0)} {
		if err := client.PublishRequest(subject, reply, []byte(read("ann"))); err != nil {
			t.Fatal(err)
		}
	}
	// One after the other: when this is answered, those before it are through.
	if m, err := client.Request(subject, []byte(read("ben")), patience); err != nil || m.Header.Get(micro.ErrorHeader) != "" {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := door.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if first, last, err := log.Bounds(t.Context(), 0); err != nil || first != 1 || last != 1 {
		t.Errorf("the log has entries %d to %d, %v", first, last, err)
	}
}

// With the accounts of deploy/nats-cluster.conf producers are answered, both ways, and see nothing
// else. Requests are shared by all servers.
func TestOutsideClusterAsItIsDeployed(t *testing.T) {
	t.Setenv("RECEIPTD_NATS_PASSWORD", "a")
	t.Setenv("PRODUCER_NATS_PASSWORD", "b")
	deployed, err := server.ProcessConfigFile("../../../deploy/nats-cluster.conf")
	if err != nil {
		t.Fatal(err)
	}
	nats1 := natstest.StartServer(t, func(o *server.Options) {
		o.Accounts, o.Users, o.MaxPayload = deployed.Accounts, deployed.Users, deployed.MaxPayload
	})
	as := func(user, password string) string {
		return strings.Replace(nats1.URL(), "nats://", "nats://"+user+":"+password+"@", 1)
	}
	log := natstest.OpenLog(t, eventlog.Config{URL: as("receiptd", "a"), Partitions: 2})
	var doors []*Door
	for range 2 {
		conns, err := log.ConnectRequests(t.Context(), "door")
		if err != nil {
			t.Fatal(err)
		}
		door, err := New(Config{
			Conns: conns, Log: log, State: fakeState{}, Registerer: prometheus.NewRegistry(), Logger: natstest.Logger(t),
		})
		if err != nil {
			t.Fatal(err)
		}
		doors = append(doors, door)
	}
	client, err := nats.Connect(as("producer", "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const n = 40
	for i := range n {
		m, err := client.Request(subject, []byte(read(fmt.Sprint("u", i))), patience)
		if err != nil || m.Header.Get(micro.ErrorHeader) != "" || !strings.HasPrefix(string(m.Data), `{"accepted":1,`) {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if m, err := client.Request("receipts.in.acme.chat.g~team.message-read", []byte(read("ann")), patience); err != nil || !strings.Contains(string(m.Data), `"seq":`) {
		t.Errorf("published: %+v, %v", m, err)
	}
	last := uint64(0)
	for k := range 2 {
		_, at, err := log.Bounds(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		last += at
	}
	if last != n+1 { // one after the other: an entry each, and each once
		t.Errorf("%d entries", last)
	}
	for _, d := range doors {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
