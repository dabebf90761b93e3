package events

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"
)

// The server's own mapping must place an ingress subject where Partition says, and under the
// subject singleSubject builds.
func TestPartitionEqualsNATS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.OneOf(rapid.IntRange(1, 64), rapid.IntRange(1, MaxPartitions)).Draw(t, "partitions")
		transform, err := server.NewSubjectTransform(IngressMapping(partitions))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			e := drawPublic(t)
			subject, err := IngressSubject(&e)
			if err != nil {
				t.Fatal(err)
			}
			mapped, err := transform.Match(subject)
			if err != nil {
				t.Fatalf("%s: %v", subject, err)
			}
			want, err := singleSubject(Partition(&e, partitions), e.Kind, e.App)
			if err != nil {
				t.Fatal(err)
			}
			if mapped != want {
				t.Fatalf("%s of %d partitions: NATS maps to %s, we to %s", subject, partitions, mapped, want)
			}
		}
	})
}

// A log keeps its partitions for good, so these may never change.
func TestPartitionIsStable(t *testing.T) {
	for _, test := range []struct {
		event Event
		want  int
	}{
		{Event{App: "acme#chat", Group: "g-1"}, 807},
		{Event{App: "acme#chat", Group: "消息"}, 402},
		{Event{App: "a.b#c", User: "bob", Peer: "alice"}, 253},
		{Event{App: "a.b#c", User: "alice", Peer: "bob"}, 253},
		{Event{App: "a.b#c", User: "al.ice@x", Peer: "b ob"}, 987},
	} {
		if got := Partition(&test.event, 1000); got != test.want {
			t.Errorf("%+v: partition %d, want %d", test.event, got, test.want)
		}
	}
}

func TestPartitionSpreadsConversations(t *testing.T) {
	const partitions, groups = 8, 8000
	var count [partitions]int
	for i := range groups {
		count[Partition(&Event{App: "acme#chat", Group: fmt.Sprint("g-", i)}, partitions)]++
	}
	for p, n := range count {
		if n < groups/partitions*8/10 || n > groups/partitions*12/10 {
			t.Errorf("partition %d has %d of %d groups", p, n, groups)
		}
	}
}

func TestPartitionDoesNotAllocate(t *testing.T) {
	e := Event{App: "acme#chat", User: "消息", Peer: "b.c"}
	if n := testing.AllocsPerRun(100, func() { Partition(&e, 8) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
