package feed

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds = flag.Int("seeds", 5, "how many simulations of nodes that feed each other")
	from  = flag.Int("seed", 0, "the first of them")
)

// Whatever the network and the nodes do, each connection at a node whose copy comes and goes is
// told of each receipt once.
func TestSeedsOfFeeding(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", *from+seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { simulate(t, uint64(*from+seed)) })
		})
		if t.Failed() {
			return
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t, ctx, seed, "a", "b", "c")
	a := w.nodes["a"]
	w.net.SetLoss([]float64{0, 0.01, 0.1}[seed%3])
	stop := w.write("m")
	var clients []*client
	if seed%2 == 0 { // else alice comes online later, when another node may be the one that tells
		clients = append(clients, a.connect())
	}
	lost := false
	for range 12 {
		switch x := w.nodes[[]string{"b", "c"}[w.random(2)]]; w.random(5) {
		case 0:
			x.Pause()
			time.Sleep(time.Duration(w.random(3000)) * time.Millisecond) // the bubble's time
			x.Resume()
		case 1:
			x.Kill()
			time.Sleep(time.Duration(w.random(2000)) * time.Millisecond) // the bubble's time
			x.Start()
		case 2:
			clients = append(clients, a.connect())
		default:
			if lost = !lost; lost {
				a.lose()
			} else {
				a.again()
			}
		}
		time.Sleep(time.Duration(w.random(500)) * time.Millisecond) // the bubble's time
	}
	stop()
	w.net.SetLoss(0)
	time.Sleep(10 * time.Second) // the bubble's time
	for i, c := range clients {
		if err := c.check(); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	cancel()
	for _, n := range w.nodes {
		n.hub.Close()
	}
	time.Sleep(time.Minute) // all of it ends
}

// A copy that tells and is killed, or stands still, or falls behind, costs a second and a half at
// most until another one tells.
func TestCopiesThatStopTelling(t *testing.T) {
	for name, fault := range map[string]func(n *node) (over func()){
		"killed":       func(n *node) func() { n.Kill(); return n.Start },
		"stands still": func(n *node) func() { n.Pause(); return n.Resume },
		"stands still for a moment, and does not fold then": func(n *node) func() {
			n.Pause()
			time.AfterFunc(pollWait+patience-50*time.Millisecond, func() {
				n.fold.Lock()
				n.stuck = true
				n.fold.Unlock()
				n.Resume()
			})
			return func() {}
		},
		"loses its copy": func(n *node) func() {
			n.lose()
			return n.again
		},
		"does not fold": func(n *node) func() {
			n.fold.Lock()
			defer n.fold.Unlock()
			n.stuck = true
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				w := newWorld(t, ctx, 1, "a", "b", "c")
				stop := w.write("m")
				c := w.nodes["a"].connect()
				time.Sleep(time.Second) // the bubble's time
				w.nodes["a"].lose()
				time.Sleep(time.Second) // the bubble's time
				_, line, _ := w.nodes["a"].feeds.parts[0].in.now()
				if line == nil {
					t.Fatal("there is no feed")
				}
				over := fault(w.nodes[line.node])
				time.Sleep(3 * time.Second) // the bubble's time
				stop()
				time.Sleep(time.Second) // the bubble's time
				if err := c.check(); err != nil {
					t.Error(err)
				}
				if late := c.late(); late > 1500*time.Millisecond {
					t.Errorf("told after %v", late)
				} else {
					t.Logf("told after %v at most", late)
				}
				over()
				cancel()
				for _, n := range w.nodes {
					n.hub.Close()
				}
				time.Sleep(time.Minute) // all of it ends
			})
		})
	}
}
