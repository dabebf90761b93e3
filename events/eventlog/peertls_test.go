package eventlog_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// peerTLS is a certificate for 127.0.0.1 by an authority of its own, which trusts that one only.
func peerTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	}
}

// Servers that speak TLS form a cluster, and let nobody in who has no certificate of theirs.
func TestPeersSpeakTLS(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	configs, own := peers(t), peerTLS(t)
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
	}{{"own", own.Certificates, true}, {"none", nil, false}, {"another authority's", peerTLS(t).Certificates, false}} {
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
	own := peerTLS(t)
	for _, test := range []struct {
		name string
		at   *tls.Config
		told bool
	}{{"own", own, true}, {"another authority's", peerTLS(t), false}} {
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
		raw, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		at := test.at.Clone()
		at.MaxVersion = tls.VersionTLS12
		err = tls.Server(raw, at).HandshakeContext(ctx)
		if (err == nil) != test.told {
			t.Errorf("certificate: %s: spoken to %t, want %t: %v", test.name, err == nil, test.told, err)
		}
		raw.Close()
		l.Close()
		cancel()
		<-opened
	}
}
