package notary

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// KeyFile is the file of the key in a data directory, mode 0600: a line with the private key and
// one with the public key, both in the form of https://c2sp.org/signed-note.
const KeyFile = "log.key"

// EnsureKey makes the key in a file if there is none.
func EnsureKey(path string) error {
	_, err := openKey(path)
	return err
}

// key signs for a log. The log is named after it.
type key struct {
	signer note.Signer
	public string
}

// openKey reads the key in a file, or makes one.
func openKey(path string) (k key, err error) {
	k, err = readKey(path)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	private, public, err := note.GenerateKey(rand.Reader, "receiptd/"+hex.EncodeToString(id[:]))
	if err != nil {
		return k, fmt.Errorf("notary: make a key: %w", err)
	}
	if err := atomicfile.Write(path, []byte(private+"\n"+public+"\n"), 0o600); err != nil {
		return k, fmt.Errorf("notary: keep the key: %w", err)
	}
	return readKey(path)
}

func readKey(path string) (k key, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("notary: %w", err)
	}
	private, public, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if k.signer, err = note.NewSigner(private); err != nil {
		return k, fmt.Errorf("notary: %s holds no key: %w", path, err)
	}
	k.public = public
	if v, err := note.NewVerifier(public); err != nil || v.Name() != k.signer.Name() || v.KeyHash() != k.signer.KeyHash() {
		return k, fmt.Errorf("notary: the two keys in %s do not belong together", path)
	}
	return k, nil
}
