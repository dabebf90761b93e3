package eventlog_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// peerTLS is a certificate for 127.0.0.1 by an authority, which trusts that one only.
func peerTLS(by *natstest.Authority, change ...func(*x509.Certificate)) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{by.Issue("127.0.0.1", change...)}, RootCAs: by.Pool(), ClientCAs: by.Pool(), MinVersion: tls.VersionTLS12,
	}
}

// elsewhere has a certificate be for an address at which no peer is.
func elsewhere(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }

// Servers that speak TLS form a cluster, and let in nobody without a certificate of theirs.
func TestPeersSpeakTLS(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	authority := natstest.NewAuthority(t)
	configs, own := peers(t), peerTLS(authority)
	logs := make([]*eventlog.Log, len(configs))
	var group sync.WaitGroup
	for i := range configs {
		configs[i].Peers.TLS = own
		group.Go(func() { logs[i] = natstest.OpenLog(t, configs[i]) })
	}
	group.Wait()
	if _, err := logs[0].Append(ctx, receipts(1, 0)); err != nil {
		t.Fatal(err)
	}
	if n := len(readAll(t, ctx, logs[1], 0)); n != 1 {
		t.Errorf("%d events of 1", n)
	}
	for _, test := range []struct {
		name  string
		certs []tls.Certificate
		in    bool
	}{
		{"own", own.Certificates, true}, {"none", nil, false}, {"another authority's", peerTLS(natstest.NewAuthority(t)).Certificates, false},
		{"of another address", peerTLS(authority, elsewhere).Certificates, false},
		{"that has ended", peerTLS(authority, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }).Certificates, false},
	} {
		// In TLS 1.2 who calls hears of the refusal within the handshake.
		cfg := &tls.Config{RootCAs: own.RootCAs, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &append(test.certs, tls.Certificate{})[0], nil
			}}
		c, err := tls.Dial("tcp", configs[0].Peers.Listen, cfg)
		if err == nil {
			c.Close()
		}
		if (err == nil) != test.in {
			t.Errorf("certificate: %s: let in %t, want %t: %v", test.name, err == nil, test.in, err)
		}
	}
}

// A server does not tell its secret to one at a peer's address that has no certificate of theirs.
func TestPeersDoNotCallStrangers(t *testing.T) {
	t.Parallel()
	authority := natstest.NewAuthority(t)
	own := peerTLS(authority)
	for _, test := range []struct {
		name string
		at   *tls.Config
		told bool
	}{
		{"own", own, true}, {"another authority's", peerTLS(natstest.NewAuthority(t)), false}, {"of another address", peerTLS(authority, elsewhere), false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cfg := peers(t)[0]
		cfg.Peers.TLS, cfg.Peers.Routes[2] = own, l.Addr().String()
		ctx, cancel := context.WithCancel(testContext(t))
		opened := make(chan struct{})
		go func() {
			defer close(opened)
			if log, err := eventlog.Open(ctx, cfg); err == nil {
				natstest.CloseLog(t, log)
			}
		}()
		for _, what := range []string{"asked for its name", "called"} {
			raw, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			at := test.at.Clone()
			at.MaxVersion = tls.VersionTLS12
			err = tls.Server(raw, at).HandshakeContext(ctx)
			if (err == nil) != test.told {
				t.Errorf("certificate: %s: %s %t, want %t: %v", test.name, what, err == nil, test.told, err)
			}
			raw.Close()
		}
		l.Close()
		cancel()
		<-opened
	}
}

// A server with a certificate that the others would refuse does not start, and says why.
func TestPeersCheckTheirCertificates(t *testing.T) {
	t.Parallel()
	authority := natstest.NewAuthority(t)
	stranger := peerTLS(natstest.NewAuthority(t))
	stranger.RootCAs, stranger.ClientCAs = authority.Pool(), authority.Pool()
	oneEnd := func(usage x509.ExtKeyUsage) *tls.Config {
		return peerTLS(authority, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{usage} })
	}
	for name, test := range map[string]struct {
		tls  *tls.Config
		says string
	}{
		"that has ended":      {peerTLS(authority, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "has expired"},
		"that has not begun":  {peerTLS(authority, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), "not yet valid"},
		"another authority's": {stranger, "unknown authority"},
		"of another address":  {peerTLS(authority, elsewhere), "no address of the servers: x509: certificate is valid for 192.0.2.1, not 127.0.0.1"},
		"for the called end":  {oneEnd(x509.ExtKeyUsageServerAuth), "when it calls them: x509: certificate specifies an incompatible key usage"},
		"for the calling end": {oneEnd(x509.ExtKeyUsageClientAuth), "when they call it: x509: certificate specifies an incompatible key usage"},
		"that is not there":   {&tls.Config{MinVersion: tls.VersionTLS12}, "no certificate"},
	} {
		cfg := peers(t)[0]
		cfg.Peers.TLS = test.tls
		ctx, cancel := context.WithTimeout(testContext(t), time.Second) // one that waits for others
		log, err := eventlog.Open(ctx, cfg)
		cancel()
		if err == nil {
			natstest.CloseLog(t, log)
		}
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("a certificate %s: %v, want %q", name, err, test.says)
		}
	}
}

// One that listens elsewhere than the others call it, as in a container, may have a certificate for
// any of the addresses; one that listens at one of them has that one's.
func TestCertificateIsForTheAddressOfTheServer(t *testing.T) {
	t.Parallel()
	authority := natstest.NewAuthority(t)
	other := &tls.Config{Certificates: []tls.Certificate{authority.Issue("127.0.0.2")}, RootCAs: authority.Pool(), ClientCAs: authority.Pool(), MinVersion: tls.VersionTLS12}
	for listen, good := range map[string]bool{"127.0.0.1": false, "127.0.0.3": true} {
		cfg := peers(t)[0]
		_, port, err := net.SplitHostPort(cfg.Peers.Listen)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Peers.TLS, cfg.Peers.Listen = other, net.JoinHostPort(listen, port)
		cfg.Peers.Routes = append(cfg.Peers.Routes, net.JoinHostPort("127.0.0.2", port))
		ctx, cancel := context.WithTimeout(testContext(t), time.Second) // one that waits for others
		log, err := eventlog.Open(ctx, cfg)
		cancel()
		if err == nil {
			natstest.CloseLog(t, log)
		}
		if refused := err != nil && strings.Contains(err.Error(), "would refuse"); refused == good {
			t.Errorf("at %s: %v", listen, err)
		}
	}
}
