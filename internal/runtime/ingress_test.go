package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/internal/config"
)

// A line of the file is a client of one app; what is wrong is told by its line, without passwords.
func TestUsersOfTheIngressAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	read := func(text string) (int, error) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		in, err := newIngress(config.Log{NATSListen: "127.0.0.1:0", NATSUsers: file})
		return len(in.Apps), err
	}
	if n, err := read("acme#chat secret-1\n\nacme#other  secret-2\n"); n != 2 || err != nil {
		t.Errorf("%d users, %v", n, err)
	}
	for _, text := range []string{"acme#chat", "acme secret-1", "acme#chat secret-1\nacme#chat secret-2"} {
		if _, err := read(text); err == nil || strings.Contains(err.Error(), "secret-") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := newIngress(config.Log{NATSCert: file, NATSKey: file}); err == nil {
		t.Error("a certificate that is none")
	}
}

// Files of the nodes' TLS that are none end the start, rather than leave the nodes unencrypted.
func TestFilesOfTheNodesTLSAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := newPeerTLS(config.Cluster{}); got != nil || err != nil {
		t.Errorf("without files: %v, %v", got, err)
	}
	if _, err := newPeerTLS(config.Cluster{Cert: file, Key: file, CA: file}); err == nil || !strings.HasPrefix(err.Error(), "--cluster-tls-cert: ") {
		t.Errorf("a certificate that is none: %v", err)
	}
}
