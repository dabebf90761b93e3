package cluster

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// credentials writes down what a node needs to speak TLS to the others, and returns its flags.
func credentials(t *testing.T, dir, name string, own tls.Certificate, trusts ...*natstest.Authority) []string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var authorities bytes.Buffer
	for _, a := range trusts {
		authorities.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate()}))
	}
	var flags []string
	for flag, text := range map[string][]byte{
		"cert": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]}),
		"key":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		"ca":   authorities.Bytes(),
	} {
		file := filepath.Join(dir, name+"-"+flag+".pem")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--cluster-tls-"+flag, file)
	}
	return flags
}

// Nodes with certificates of an authority that they all trust form a cluster. One that has another
// certificate, or none, gets nothing of the log, says why, and disturbs nobody. Certificates are
// renewed by restarting one node after the other, by another authority too.
func TestNodesSpeakTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	net := newNetwork(t, "a", "b", "c")
	meet := net.listen(net.hosts[:3], 6222)
	first, second, foreign := natstest.NewAuthority(t), natstest.NewAuthority(t), natstest.NewAuthority(t)
	flags := make([][]string, 3)
	for i, h := range net.hosts[:3] {
		flags[i] = credentials(t, dir, h.name, first.Issue(h.address), first, second)
	}
	nodes := startNodes(t, net, dir, net.hosts[:3], func(i int) []string {
		return append(meeting(meet)(i), flags[i]...)
	})
	c := newClient(t, nodes)
	c.prepare()
	sent := 0
	// goesOn has some nodes take messages and read those of each other.
	goesOn := func(nodes ...*machine) {
		t.Helper()
		for i, n := range nodes {
			sent++
			id := fmt.Sprint("m", sent)
			position := c.must(n, "POST", app+"/events", "", map[string]any{"type": "message.sent", "id": id, "from": "g0-u0", "group": "g0", "receipt": true, "event_id": id}).header.Get("Receiptd-Position")
			if got := c.must(nodes[(i+1)%len(nodes)], "GET", app+"/messages/"+id, position, nil); !strings.Contains(string(got.body), fmt.Sprintf(`"eligible":%d`, members-1)) {
				t.Errorf("%s: %s", id, got.body)
			}
		}
	}
	goesOn(nodes...)

	last, address, good := nodes[2], net.hosts[2].address, flags[2]
	for _, bad := range []struct {
		name, says string
		flags      []string
		// waits: the node cannot know that it is refused until the others do it.
		waits bool
	}{
		{"that has ended", "certificate has expired", credentials(t, dir, "ended", first.Issue(address, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), first), false},
		{"of another address", "it is for no address of the servers", credentials(t, dir, "elsewhere", first.Issue("192.0.2.1"), first), false},
		{"of an authority that nobody trusts", "certificate signed by unknown authority", credentials(t, dir, "stranger", foreign.Issue(address), first), false},
		{"of an authority that the others do not trust", "certificate signed by unknown authority", credentials(t, dir, "foreign", foreign.Issue(address), foreign), true},
		{"that is none", "speaks TLS and this one does not", nil, true},
	} {
		last.stop()
		flags[2] = bad.flags
		before := len(last.said())
		last.start()
		until(t, "a node with a certificate "+bad.name+" says why it is refused", func() bool { return strings.Contains(last.said()[before:], bad.says) })
		goesOn(nodes[:2]...)
		if bad.waits {
			if a, err := c.call(last, "GET", "/readyz", "", nil); err == nil && a.status == http.StatusOK {
				t.Errorf("a node with a certificate %s is ready", bad.name)
			}
			continue
		}
		select {
		case <-last.exited:
		case <-time.After(patience):
			t.Errorf("a node with a certificate %s goes on", bad.name)
		}
	}
	if !strings.Contains(nodes[0].said(), "the other node does not speak TLS and this one does") {
		t.Error("nobody says that a node came without TLS")
	}
	last.stop()
	flags[2] = good
	last.start()
	c.well()

	for i, n := range nodes {
		n.stop()
		flags[i] = credentials(t, dir, "new-"+n.name, second.Issue(net.hosts[i].address), first, second)
		n.start()
		c.well()
		goesOn(nodes...)
	}
	for i := 1; i <= sent; i++ {
		c.must(last, "GET", app+fmt.Sprint("/messages/m", i), "", nil)
	}
	for _, n := range nodes {
		c.verified(n, "")
	}
}
