package runtime

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/receiptd/receiptd/internal/config"
)

// newPeerTLS is how the NATS servers inside the nodes speak TLS; nil = they do not.
func newPeerTLS(cfg config.Cluster) (*tls.Config, error) {
	if cfg.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("--cluster-tls-cert: %w", err)
	}
	text, err := os.ReadFile(cfg.CA)
	if err != nil {
		return nil, fmt.Errorf("--cluster-tls-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--cluster-tls-ca: %s has no certificate in PEM", cfg.CA)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
