package cluster

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What the nodes of TestFewerCopiesThanNodes fold: each partition is on some of them.
const (
	fewerPartitions = 8
	fewerCopies     = 2
	fewerMoveAfter  = 5 * time.Second
)

// The same for four nodes, two of which fold each partition, while copies move: a node is drained
// or gone for longer, and partitions are moved by hand.
func TestFewerCopiesThanNodes(t *testing.T) {
	if *duration == 0 {
		t.Skip("it takes more than a minute: -for")
	}
	t.Parallel()
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c", "d", "broker0", "broker1", "broker2")
	brokers, urls := startBrokers(t, n, dir, n.hosts[4:7])
	a := long(t, n)
	nodes := startNodes(t, n, dir, n.hosts[:4], func(int) []string {
		return a.flags("--nats", urls, "--replicas", "3", "--partitions", fmt.Sprint(fewerPartitions),
			"--copies", fmt.Sprint(fewerCopies), "--move-after", fewerMoveAfter.String(), "--snapshot-every", "10s")
	})
	stress(&lab{t: t, net: n, nodes: nodes, brokers: brokers, archive: a, copies: fewerCopies}, nil)
}

func fewer(l *lab) string {
	if l.copies > 0 {
		return ""
	}
	return "every node folds everything"
}

// gone has a node be away for long enough that others fold its share.
func (l *lab) gone(r *rand.Rand) {
	m := pick(r, l.nodes)
	m.kill()
	l.note("kill", m)
	time.Sleep(between(r, fewerMoveAfter, 4*fewerMoveAfter)) // others begin copies, or are done
	m.start()
}

// drained has a node's copies go elsewhere and come back, while another one is killed, perhaps one
// that they go to.
func (l *lab) drained(r *rand.Rand) {
	m := pick(r, l.nodes)
	path := "/v1/cluster/nodes/" + m.name + "/drain"
	l.client.must(pick(r, l.nodes), http.MethodPut, path, "", nil)
	l.t.Logf("drained: %s", m.name)
	time.Sleep(l.lasts(r, l.longest)) // copies are on their way, or have left
	if r.IntN(2) == 0 {
		l.disturb(r, pick(r, l.nodes))
	}
	l.client.must(pick(r, l.nodes), http.MethodDelete, path, "", nil)
}

// moved has a copy of a partition go to another node and back, while one of the two stands still or
// is cut off.
func (l *lab) moved(r *rand.Rand) {
	path, from, to := l.move(r)
	time.Sleep(l.lasts(r, l.longest)) // it is on its way, or there
	l.disturb(r, pick(r, []*machine{to, from}))
	l.client.must(pick(r, l.nodes), http.MethodDelete, path, "", nil)
}

// behind has one of a partition's two copies stand still, and then the other one die, which got
// ahead: when the first one goes on, it tells those whom the other one told, some of it for the
// second time.
func (l *lab) behind(r *rand.Rand) {
	late, ahead := l.pair(r)
	l.note("pause", late)
	late.signal(syscall.SIGSTOP)
	time.Sleep(between(r, time.Second, 3*time.Second/2)) // everybody is told by the other one
	ahead.kill()
	l.note("kill", ahead)
	time.Sleep(l.lasts(r, time.Second)) // it is asked, and is not yet taken for one that is gone
	late.signal(syscall.SIGCONT)
	time.Sleep(l.lasts(r, time.Second)) // it tells
	ahead.start()
}

// pair draws two nodes that have a copy each of one partition, of those that clients write to.
func (l *lab) pair(r *rand.Rand) (one, other *machine) {
	l.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		partitions := l.client.view().Partitions
		busiest := slices.MaxFunc(partitions, func(a, b partitionView) int { return cmp.Compare(a.sequence(), b.sequence()) }).sequence()
		p := pick(r, slices.DeleteFunc(partitions, func(p partitionView) bool { return p.sequence() < busiest/2 }))
		on, _ := l.wanted(p)
		if len(p.Copies) == len(p.Wanted) && len(on) == 2 {
			r.Shuffle(2, func(i, j int) { on[i], on[j] = on[j], on[i] })
			return on[0], on[1]
		}
	}
	l.t.Fatal("no partition has two copies")
	return nil, nil
}

// wanted are the nodes that are to have a copy of a partition, and those that are not.
func (l *lab) wanted(p partitionView) (on, off []*machine) {
	for _, m := range l.nodes {
		if slices.Contains(p.Wanted, m.name) {
			on = append(on, m)
		} else {
			off = append(off, m)
		}
	}
	return on, off
}

// move asks for a move of some copy to another node. What a view says may be of before the plan was
// changed last: what is refused is chosen anew.
func (l *lab) move(r *rand.Rand) (path string, from, to *machine) {
	l.t.Helper()
	var a answer
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		p := pick(r, l.client.view().Partitions)
		on, off := l.wanted(p)
		if len(on) == 0 || len(off) == 0 {
			l.t.Fatalf("partition %d is to be on %v", p.Partition, p.Wanted)
		}
		from, to, path = pick(r, on), pick(r, off), fmt.Sprintf("/v1/cluster/partitions/%d/move", p.Partition)
		a, err = l.client.call(pick(r, l.nodes), http.MethodPut, path, "", map[string]string{"from": from.name, "to": to.name})
		if err == nil && a.status/100 == 2 {
			l.t.Logf("partition %d moves from %s to %s", p.Partition, from.name, to.name)
			return path, from, to
		}
	}
	l.t.Fatalf("%s from %s to %s: %d %s, %v", path, from.name, to.name, a.status, a.body, err)
	return path, from, to
}

// disturb has a node be killed, stand still or, where that can be done, be cut off for a while.
func (l *lab) disturb(r *rand.Rand, m *machine) {
	ways := 3
	if !inside {
		ways = 2
	}
	switch r.IntN(ways) {
	case 0:
		m.kill()
		l.note("kill", m)
		time.Sleep(l.lasts(r, time.Second)) // without it for a while
		m.start()
	case 1:
		l.note("pause", m)
		m.pause(l.lasts(r, l.longest))
	case 2:
		l.note("cut", m)
		l.net.isolate(m.host, l.net.others(m.host))
		time.Sleep(l.lasts(r, l.longest)) // the cut lasts
		l.net.heal()
	}
}

// placed waits until each partition is exactly where it is to be, with nothing in the way.
func (c *client) placed(copies int) {
	c.t.Helper()
	var away []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		away = nil
		for _, p := range c.view().Partitions {
			var on []string
			for _, x := range p.Copies {
				on = append(on, x.Node)
			}
			slices.Sort(on)
			slices.Sort(p.Wanted)
			if len(on) != copies || !slices.Equal(on, p.Wanted) {
				away = append(away, fmt.Sprintf("partition %d is on %v and to be on %v", p.Partition, on, p.Wanted))
			}
		}
		if away == nil {
			return
		}
	}
	c.t.Fatalf("copies do not come to where they are to be: %s", strings.Join(away, "; "))
}
