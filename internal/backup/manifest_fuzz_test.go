package backup

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// FuzzBackupManifest has a directory hold anything as the manifest of a backup, with the checksum
// that fits. It is refused, or what it names lies in that directory alone, and all that is done
// with a backup can be done or fails: verify, take a record, go on with it.
func FuzzBackupManifest(f *testing.F) {
	secret := sumOf([]byte("secret"))
	for _, m := range []Manifest{
		{Format: format, Complete: true, Log: "1", Partitions: 1, Streams: []Stream{
			{Stream: "RECEIPTS_0", Meta: "{}", Last: 2, Blocks: []Block{{Index: 1, First: 1, Last: 2, Messages: 2}}},
			{Stream: "RECEIPTD_INBOX", Partition: -1, Meta: "{}"},
		}, Secrets: []File{{Name: "token.key", Sum: secret}}},
		{Format: format, Complete: true, Log: "1", Partitions: 1, Secrets: []File{{Name: "../outside", Sum: secret}}},
		{Format: format, Complete: true, Log: "1", Partitions: 1, Streams: []Stream{{Stream: "../..", Meta: "{}", Blocks: []Block{{Index: 1}}}}},
		{Format: format, Log: "1", Partitions: 1, Streams: []Stream{{Stream: "a", Blocks: []Block{{Index: -7, First: 9, Last: 3}, {Index: 1 << 62}}}}},
		{Format: 2},
	} {
		text, err := m.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text[:strings.LastIndex(string(text), "\nsha256 ")])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text := fmt.Appendf(nil, "%s\nsha256 %s\n", body, sumOf(body).SHA256)
		m, err := decodeManifest(text)
		if err != nil {
			if !reflect.DeepEqual(m, Manifest{}) {
				t.Errorf("%q: %+v beside %v", body, m, err)
			}
			return
		}
		within(t, &m)
		outside := t.TempDir()
		dir := filepath.Join(outside, "a", "b")
		if err := os.MkdirAll(filepath.Join(dir, secretsDir), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{
			manifestFile: text, secretsDir + "/token.key": []byte("secret"), "../outside": []byte("secret"), "../../outside": []byte("secret"),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b, err := Open(dir)
		if err == nil {
			if _, err := b.Verify(t.Context(), nil); err != nil {
				t.Logf("%q: %v", body, err)
			}
			for _, s := range b.Streams {
				b.Bounds(s.Stream)
				_, _, _ = b.Record(s.Stream, 1)
			}
		}
		if d, err := OpenDir(dir); err == nil {
			d.Have()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"../outside", "../../outside"} {
			if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != "secret" {
				t.Errorf("%q: a file beside the backup: %q, %v", body, text, err)
			}
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeManifest(again)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", body, again, err)
		}
		if twice, err := got.encode(); err != nil || !bytes.Equal(twice, again) {
			t.Errorf("%q is written as %q and then as %q, %v", body, again, twice, err)
		}
	})
}

// within finds names that lead out of the directory, or are there twice.
func within(t *testing.T, m *Manifest) {
	t.Helper()
	seen := map[string]bool{manifestFile: true}
	check := func(dir, name string) {
		if name = path.Join(dir, name); path.Dir(name) != dir || !filepath.IsLocal(name) || seen[name] {
			t.Errorf("it names %q", name)
		}
		seen[name] = true
	}
	for _, s := range m.Streams {
		check(streamsDir, s.Stream)
		for _, b := range s.Blocks {
			check(path.Join(streamsDir, s.Stream), path.Base(blockName(s.Stream, b.Index)))
		}
	}
	for _, x := range m.Secrets {
		check(secretsDir, x.Name)
	}
}
