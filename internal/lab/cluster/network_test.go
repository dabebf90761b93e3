package cluster

import (
	"fmt"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// inside is set if this process has a network and mounts of its own.
var inside bool

// network joins the machines of a lab: each has a network stack of its own, or, where that is not
// possible, they are all this machine. The tests, which are the clients, are the machine "lab".
type network struct {
	t     testing.TB
	id    int64
	hosts []*host // the last one is the lab
}

// host is a machine of a network.
type host struct {
	name    string
	address string // without a port
	mac     string
	stack   string // the name of its network stack; empty for the lab's, and if there is only one
	device  string
}

var networks atomic.Int64

// wrongMAC is nobody's: what is sent there is lost without a word.
const wrongMAC = "02:00:00:00:00:fe"

func newNetwork(t testing.TB, names ...string) *network {
	t.Helper()
	n := &network{t: t, id: networks.Add(1)}
	for i, name := range append(names, "lab") {
		h := &host{name: name, address: "127.0.0.1"}
		if inside {
			h.address = fmt.Sprintf("10.213.%d.%d", n.id, i+1)
			h.mac = fmt.Sprintf("02:00:00:00:%02x:%02x", n.id, i+1)
			h.stack, h.device = fmt.Sprintf("n%d-%s", n.id, name), "eth0"
		}
		n.hosts = append(n.hosts, h)
	}
	if inside {
		n.join()
	}
	return n
}

func (n *network) do(args ...string) {
	n.t.Helper()
	if err := ip(args...); err != nil {
		n.t.Fatal(err)
	}
}

// join has all hosts at one switch, which is in the stack of the lab.
func (n *network) join() {
	n.t.Helper()
	lab := n.hosts[len(n.hosts)-1]
	lab.stack, lab.device = "", fmt.Sprintf("br%d", n.id)
	n.do("link", "add", lab.device, "address", lab.mac, "type", "bridge")
	n.do("addr", "add", lab.address+"/24", "dev", lab.device)
	n.do("link", "set", lab.device, "up")
	for i, h := range n.hosts[:len(n.hosts)-1] {
		port := fmt.Sprintf("p%d-%d", n.id, i)
		n.do("netns", "add", h.stack)
		n.do("link", "add", port, "type", "veth", "peer", "name", h.device, "address", h.mac, "netns", h.stack)
		n.do("link", "set", port, "master", lab.device, "up")
		n.do("-n", h.stack, "addr", "add", h.address+"/24", "dev", h.device)
		n.do("-n", h.stack, "link", "set", "lo", "up")
		n.do("-n", h.stack, "link", "set", h.device, "up")
	}
	n.heal()
}

// heal ends all cuts.
func (n *network) heal() {
	n.t.Helper()
	for _, from := range n.hosts {
		for _, to := range n.hosts {
			if from != to {
				n.teach(from, to, to.mac)
			}
		}
	}
}

// cut has all that one host sends to another one be lost, and nothing of what comes back.
func (n *network) cut(from, to *host) {
	n.t.Helper()
	n.teach(from, to, wrongMAC)
}

// isolate has nothing pass between a host and others, either way.
func (n *network) isolate(h *host, others []*host) {
	n.t.Helper()
	for _, o := range others {
		n.cut(h, o)
		n.cut(o, h)
	}
}

// others are all hosts but one.
func (n *network) others(h *host) []*host {
	return slices.DeleteFunc(slices.Clone(n.hosts), func(o *host) bool { return o == h })
}

// teach tells a host where another one is.
func (n *network) teach(from, to *host, mac string) {
	n.t.Helper()
	args := []string{"neigh", "replace", to.address, "lladdr", mac, "dev", from.device, "nud", "permanent"}
	if from.stack != "" {
		args = append([]string{"-n", from.stack}, args...)
	}
	n.do(args...)
}

// command is that of a program on a host.
func (h *host) command(program string, args ...string) *exec.Cmd {
	if h.stack == "" {
		return exec.Command(program, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", h.stack, program}, args...)...)
}

// listen returns addresses to listen at on the hosts, one on each.
func (n *network) listen(hosts []*host, port int) (list []string) {
	n.t.Helper()
	if !inside {
		return natstest.FreeAddresses(n.t, len(hosts))
	}
	for _, h := range hosts {
		list = append(list, fmt.Sprintf("%s:%d", h.address, port))
	}
	return list
}
