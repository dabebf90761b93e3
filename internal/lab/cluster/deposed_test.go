package cluster

import (
	"math/rand/v2"
	"time"
)

// electing is how long NATS servers take, at most, to have another leader; one that was cut off
// from the others notices after 10 to 20 s. Between the two there are two that lead.
const electing = 9 * time.Second

func ownBrokers(l *lab) string {
	if len(l.brokers) == 0 {
		return "the NATS servers are in the nodes"
	}
	return ownNetwork(l)
}

// deposed has a node ask a server that was cut off from the others, and no other one: where it led,
// others do, and it does not know it. What it says of the log is of before. The node goes on, or
// starts.
func (l *lab) deposed(r *rand.Rand) {
	server, m := pick(r, l.brokers), pick(r, l.nodes)
	var others []*host
	for _, b := range l.brokers {
		if b != server {
			others = append(others, b.host)
		}
	}
	l.note("cut", server)
	l.net.isolate(server.host, others)
	time.Sleep(electing) // there are others that lead
	starts := r.IntN(2) == 0
	if starts {
		m.kill()
		l.note("kill", m)
	}
	l.net.isolate(m.host, others)
	if starts {
		m.start()
	}
	time.Sleep(l.lasts(r, electing)) // it asks
	l.net.heal()
}
