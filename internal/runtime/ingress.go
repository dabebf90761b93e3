package runtime

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"strings"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
)

// newIngress says how NATS clients are let in.
func newIngress(cfg config.Log) (in eventlog.Ingress, err error) {
	in = eventlog.Ingress{Listen: cfg.NATSListen, Password: cfg.NATSPassword.Reveal()}
	if files, known := openFilesLimit(); known {
		in.MaxConnections = ingressConnections(&cfg, files)
	}
	if cfg.NATSUsers != "" {
		if in.Apps, err = readIngressApps(cfg.NATSUsers); err != nil {
			return in, err
		}
	}
	if cfg.NATSCert != "" {
		pair, err := tls.LoadX509KeyPair(cfg.NATSCert, cfg.NATSKey)
		if err != nil {
			return in, fmt.Errorf("--nats-tls-cert: %w", err)
		}
		in.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	return in, nil
}

// readIngressApps reads a line ORG#APP PASSWORD for each client; errors do not show passwords.
func readIngressApps(path string) (list []eventlog.IngressApp, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--nats-users: %w", err)
	}
	return parseIngressApps(path, text)
}

// parseIngressApps is readIngressApps of the text of the file at a path.
func parseIngressApps(path string, text []byte) (list []eventlog.IngressApp, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	seen := make(map[string]bool)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		app, password, ok := strings.Cut(line, " ")
		if _, _, err := events.SplitAppKey(app); err != nil || !ok || seen[app] {
			return nil, fmt.Errorf("--nats-users: %s:%d: not ORG#APP PASSWORD, or an app again", path, n)
		}
		seen[app] = true
		list = append(list, eventlog.IngressApp{App: app, Password: strings.TrimSpace(password)})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--nats-users: %s: %w", path, err)
	}
	return list, nil
}
