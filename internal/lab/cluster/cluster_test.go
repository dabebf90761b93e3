package cluster

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var (
	duration = flag.Duration("for", 0, "how long the nemesis is at work; 0 = the short form, in which each kind of fault comes once, on one of the clusters")
	only     = flag.String("faults", "", "names of the only kinds of faults, separated by commas")
	seed     = flag.Uint64("seed", 0, "of the nemesis and the clients; 0 = by the clock")
)

// Whatever dies, stands still, is cut off or damaged: an acknowledged event counts once everywhere,
// reads are as new as they have to be, and all copies are the same.
func TestNodesOnOutsideBrokers(t *testing.T) {
	t.Parallel() // most of it is waiting for what has died
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c", "broker0", "broker1", "broker2")
	brokers, urls := startBrokers(t, n, dir, n.hosts[3:6])
	a := long(t, n)
	nodes := startNodes(t, n, dir, n.hosts[:3], func(int) []string { return a.flags("--nats", urls, "--replicas", "3") })
	stress(&lab{t: t, net: n, nodes: nodes, brokers: brokers, archive: a}, []string{"kill", "cut one way", "most servers", "bit of a log", "full disk"})
	tellDoubles(t, urls, "RECEIPTS_0", "RECEIPTS_1")
}

// The same for nodes that form the cluster by themselves: with a node its broker dies.
func TestNodesByThemselves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := newNetwork(t, "a", "b", "c")
	meet := n.listen(n.hosts[:3], 6222)
	a := startArchive(t, n)
	nodes := startNodes(t, n, dir, n.hosts[:3], func(i int) []string {
		return a.flags(meeting(meet)(i)...)
	})
	stress(&lab{t: t, net: n, nodes: nodes, archive: a}, []string{"stop", "pause", "cut", "bit of a state", "bit of a log", "sink"})
}

// stress has clients at work while the nemesis goes through the faults of a short form, or through
// all of them.
func stress(l *lab, deck []string) {
	t := l.t
	l.longest, l.fired, l.spoilt = 2*time.Second, map[string]int{}, map[*machine]bool{}
	if *duration > 0 {
		l.longest = min(30*time.Second, *duration/20)
		deck = nil
		for _, k := range kinds {
			deck = append(deck, k.name)
		}
	}
	if *only != "" {
		deck = strings.Split(*only, ",")
	}
	t.Logf("seed %d, longest %v, a network of its own: %v", *seed, l.longest, inside)
	c := newClient(t, l.nodes)
	if l.copies > 0 {
		c.copies = l.copies
	}
	l.client = c
	c.prepare()
	tr := startTraffic(c, 4, 2)
	h := tr.history
	l.began = func(kind string, m *machine) { tr.clients.Go(func() { c.takeover(l, h, tr.ears, kind, m) }) }
	l.nemesis(*seed, deck, *duration, func() { c.well() })
	tr.finish(l.spoilt, l.archive)
	t.Logf("%d messages, %d calls, %d refused or unanswered, %d reads checked, %d events asked about again, %d connections and %d pushes",
		len(h.acked), c.calls.Load(), c.refused.Load(), c.checked.Load(), c.repeated.Load(), c.streams.Load(), c.pushes.Load())
	if len(h.acked) < 3 || c.checked.Load() < 20 || c.repeated.Load() == 0 || c.pushes.Load() == 0 {
		t.Error("hardly anything was done")
	}
	l.tellFaults(deck)
	c.tellTakeovers()
	c.tellSaid()
}

// tellFaults prints how often each kind of fault has come, and holds that each has that can.
func (l *lab) tellFaults(deck []string) {
	for _, name := range deck {
		lacks := kindOf(name).lacks(l)
		switch {
		case l.fired[name] > 0:
			l.t.Logf("%s: %d times", name, l.fired[name])
		case lacks != "":
			l.t.Logf("%s: never: %s", name, lacks)
		case !l.t.Failed():
			l.t.Errorf("%s: never", name)
		}
	}
}
