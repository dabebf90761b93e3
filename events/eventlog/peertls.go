package eventlog

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
)

// checkTLS returns why the other servers would refuse the certificate of this one, as far as it can
// be told here: they say so in their own logs only, and this one would wait for them.
func (p *Peers) checkTLS() error {
	if p.TLS == nil {
		return nil
	}
	if len(p.TLS.Certificates) == 0 {
		return errors.New("no certificate for TLS between the servers")
	}
	for _, pair := range p.TLS.Certificates {
		if err := p.checkCertificate(pair); err != nil {
			return fmt.Errorf("the other servers would refuse the certificate of this one: %w", err)
		}
	}
	return nil
}

func (p *Peers) checkCertificate(pair tls.Certificate) error {
	chain := make([]*x509.Certificate, len(pair.Certificate))
	between := x509.NewCertPool()
	for i, der := range pair.Certificate {
		var err error
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return err
		}
		if i > 0 {
			between.AddCert(chain[i])
		}
	}
	for _, end := range []struct {
		what        string
		authorities *x509.CertPool
		usage       x509.ExtKeyUsage
	}{
		{"when they call it", p.TLS.RootCAs, x509.ExtKeyUsageServerAuth},
		{"when it calls them", p.TLS.ClientCAs, x509.ExtKeyUsageClientAuth},
	} {
		opts := x509.VerifyOptions{Roots: end.authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{end.usage}}
		if _, err := chain[0].Verify(opts); err != nil {
			return fmt.Errorf("%s: %w", end.what, err)
		}
	}
	if slices.Contains(p.Routes, p.Listen) { // else others call it by another address
		return named(chain[0], []string{p.Listen})
	}
	return named(chain[0], p.Routes)
}

// tlsConfig is how the server speaks TLS to the others. Of one that it calls TLS checks the name;
// one that calls has to have a name of theirs as well.
func (p *Peers) tlsConfig() *tls.Config {
	c := p.TLS.Clone()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error { return named(s.PeerCertificates[0], p.Routes) }
	return c
}

// named returns an error if a certificate is for none of some addresses.
func named(c *x509.Certificate, addrs []string) error {
	var err error
	for _, addr := range addrs {
		var host string
		if host, _, err = net.SplitHostPort(addr); err == nil {
			err = c.VerifyHostname(host)
		}
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("it is for no address of the servers: %w", err)
}
