package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// FuzzReceive has a server send anything, to a directory that holds a backup already or none. It is
// taken and whole, or refused, and then what was there is whole; nothing is written elsewhere.
func FuzzReceive(f *testing.F) {
	sent := sentBackup(f, "{}", 0)
	f.Add(sentBackup(f, "no configuration", 0), true)
	f.Add(sentBackup(f, "{}", 1), false)
	f.Add(sent, false)
	f.Add(sent, true)
	f.Add(sent[:len(sent)/2], false)
	f.Add(tarOf(f, beginName, `{"format":1,"log":"1","partitions":1}`, secretsDir+"/..", "text", endName, `{}`), true)
	f.Add(tarOf(f, beginName, `{"format":1,"log":"1","partitions":1,"streams":[{"stream":"..","partition":0}]}`, "streams/../1.blk", "x"), false)
	f.Add(tarOf(f, beginName, `{"format":1,"log":"1","partitions":1,"streams":[{"stream":".","partition":0,"meta":"{}"}]}`, endName, `{}`), false)
	f.Add(tarOf(f, beginName, `{"format":1,"log":"1","partitions":1}`, secretsDir+"/a", "text", secretsDir+"/a", "another", endName, `{}`), false)
	f.Add(tarOf(f, endName, `{}`), true)
	f.Fuzz(func(t *testing.T, stream []byte, again bool) {
		outside := t.TempDir()
		dir := filepath.Join(outside, "a", "b")
		if again {
			receive(t, dir, sent)
		}
		d, err := OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Receive(t.Context(), bytes.NewReader(stream), nil)
		if closeErr := d.Close(); closeErr != nil {
			t.Fatal(closeErr)
		}
		if entries, readErr := os.ReadDir(filepath.Join(outside, "a")); readErr != nil || len(entries) != 1 {
			t.Fatalf("it wrote beside the directory: %v, %v", entries, readErr)
		}
		if err == nil || again {
			whole(t, dir)
		}
		if d, err := OpenDir(dir); err != nil {
			t.Errorf("it cannot be gone on with: %v", err)
		} else if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// sentBackup is what a server sends that has one entry and one message beside the log; the
// fingerprint of the entry is wrong by so much.
func sentBackup(f *testing.F, meta string, wrong uint64) []byte {
	record := blockfile.Record{Sequence: 1, Time: 1, Subject: []byte("s"), Data: []byte("data")}
	print := eventlog.Fingerprint(eventlog.Entry{Sequence: 1, Time: time.Unix(0, 1), Data: record.Data})
	block := func(stream string) string {
		b := blockfile.NewBlock(stream, 1)
		b.Append(record)
		return string(b.Bytes())
	}
	const log, side = "RECEIPTS_0", "RECEIPTD_INBOX"
	return tarOf(f,
		beginName, `{"format":1,"log":"1","partitions":1,"bytes":9,"streams":[{"stream":"`+log+`","partition":0,"meta":"`+meta+`"},{"stream":"`+side+`","partition":-1,"meta":"{}"}]}`,
		blockName(log, 1), block(log),
		blockName(side, 1), block(side),
		secretsDir+"/token.key", "secret",
		endName, fmt.Sprintf(`{"streams":[{"stream":%q,"last":1,"fingerprint":%d},{`, log, print+wrong)+`"stream":"`+side+`","first":1,"last":1}]}`,
	)
}

// tarOf is a tar of files: name, content, name, content.
func tarOf(f *testing.F, files ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		if err := putTar(w, files[i], []byte(files[i+1])); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

// receive takes a backup that is complete.
func receive(t *testing.T, dir string, stream []byte) {
	t.Helper()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := d.Receive(ctx, bytes.NewReader(stream), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
