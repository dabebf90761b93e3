package runtime

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/receiptd/receiptd/internal/atomicfile"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/notary"
)

// shareSecrets makes the secret files of the data directory those of the cluster. The log's key is
// left alone where heads were signed with another one.
func (s *Server) shareSecrets(ctx context.Context) error {
	files := map[string]func(path string) error{
		tokenKeyFile:   func(path string) error { _, err := secretFile(path, 32); return err },
		notary.KeyFile: notary.EnsureKey,
	}
	if s.cfg.HTTP.AdminKey == "" {
		files[config.AdminKeyFile] = func(path string) error { _, err := secretFile(path, 24); return err }
	}
	for name, ensure := range files {
		path := filepath.Join(s.cfg.Data, name)
		own, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("read secret: %w", err)
		}
		shared, err := s.bucket.Share(ctx, secretKey(name), func() ([]byte, error) {
			if err := ensure(path); err != nil {
				return nil, err
			}
			return os.ReadFile(path)
		})
		if err != nil {
			return fmt.Errorf("share %s with the other nodes: %w", name, err)
		}
		if string(own) == string(shared) {
			continue
		}
		if own != nil {
			if heads, _ := os.ReadDir(filepath.Join(s.cfg.Data, notary.HeadsDir)); name == notary.KeyFile && len(heads) > 0 {
				s.logger.Warn("the log's key of this node is not that of the cluster, and heads were signed with it; it is kept", "file", path)
				continue
			}
			s.logger.Warn("a secret of this node is replaced by that of the cluster; what it gave out before ends", "file", path)
		}
		if err := atomicfile.Write(path, shared, 0o600); err != nil {
			return fmt.Errorf("keep secret: %w", err)
		}
	}
	return nil
}

// secretKey is where a secret file is in the bucket of the nodes.
func secretKey(name string) string { return "secret." + strings.ReplaceAll(name, ".", "-") }

// adminKeyCheck is where the bucket has the check value of the admin key of the node that started
// last.
const adminKeyCheck = "mark.admin-key"

// compareAdminKeys tells of an admin key that is not the one of the node that started before: with
// either of them every other request would be refused. Of the key the bucket has a check value of
// 16 bits, made with the key of user tokens, which tells nobody the key.
func (s *Server) compareAdminKeys(ctx context.Context) error {
	key, err := s.adminKeyGiven()
	if err != nil {
		return err
	}
	tokenKey, err := secretFile(filepath.Join(s.cfg.Data, tokenKeyFile), 32)
	if err != nil {
		return err
	}
	h := hmac.New(sha256.New, []byte(tokenKey))
	_, _ = h.Write([]byte("admin key " + key)) // never fails
	check := hex.EncodeToString(h.Sum(nil)[:2])
	before, _, err := s.bucket.Get(ctx, adminKeyCheck)
	if err != nil && !errors.Is(err, cluster.ErrNotFound) {
		return fmt.Errorf("compare admin keys: %w", err)
	}
	if string(before) == check {
		return nil
	}
	if err == nil {
		s.logger.Warn("the admin key of this node is not that of the node that started before: each node refuses the key of the other, so give all the same --admin-key")
	}
	if err := s.bucket.Put(ctx, adminKeyCheck, []byte(check)); err != nil {
		return fmt.Errorf("compare admin keys: %w", err)
	}
	return nil
}

// adminKeyGiven is the admin key as it was given, or else the one that is kept in its file, which
// is made if it is not there.
func (s *Server) adminKeyGiven() (string, error) {
	if key := s.cfg.HTTP.AdminKey.Reveal(); key != "" {
		return key, nil
	}
	return secretFile(filepath.Join(s.cfg.Data, config.AdminKeyFile), 24)
}

// secretFile returns the secret kept in a file, one made now if there is none.
func secretFile(path string, bytes int) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		s := strings.TrimSpace(string(text))
		if problem := problemOf(s, leastOf(path)); problem != "" {
			return "", fmt.Errorf("%s: %s %s; remove it to have a new secret made", foundSecretBad, path, problem)
		}
		return s, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // never fails
	s := hex.EncodeToString(raw)
	if err := atomicfile.Write(path, []byte(s+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep secret: %w", err)
	}
	return s, nil
}

// minSecret is how short an admin key may be, in bytes. Shorter ones are what is left of a damaged
// file, and can be guessed.
const minSecret = 8

// leastOf is how short the secret in a file may be.
func leastOf(path string) int {
	if filepath.Base(path) == tokenKeyFile {
		return gateway.MinTokenKeyBytes
	}
	return minSecret
}

// problemOf says why a text cannot be a secret; empty if it can.
func problemOf(secret string, least int) string {
	switch {
	case secret == "":
		return "is empty"
	case len(secret) < least:
		return fmt.Sprintf("has %d characters, and fewer than %d are no secret", len(secret), least)
	case strings.ContainsFunc(secret, func(r rune) bool { return r == unicode.ReplacementChar || unicode.IsControl(r) }):
		return "is damaged: it has characters that cannot be printed"
	}
	return ""
}

// secretProblem is problemOf of what a file holds; empty for one that cannot be read.
func secretProblem(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return problemOf(strings.TrimSpace(string(text)), leastOf(path))
}
