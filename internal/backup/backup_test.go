package backup

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// A restored log has the same entries, and what lies beside it the same messages with the same
// sequences, though some were deleted; only its identity is another one.
func TestRestoredIsWhatWasBackedUp(t *testing.T) {
	t.Parallel()
	p := filled(t, 60)
	dir := t.TempDir()
	p.backup(dir)
	whole(t, dir)
	q := restored(t, dir)
	same(t, p, q)
	id := q.log.Identity()
	if id == p.log.Identity() {
		t.Error("a restored log has the identity of the one before")
	}
	q.append(3)
	ack, err := q.js().Publish(testContext(t), "inbox.u0", nil)
	if err != nil || ack.Sequence != 41 {
		t.Errorf("the next message in an inbox: %+v, %v", ack, err)
	}
	q.close()
	q.open()
	if q.log.Identity() != id {
		t.Error("another identity after a restart")
	}
}

// same compares two logs and what lies beside them.
func same(t *testing.T, p, q *logAt) {
	t.Helper()
	if want, got := p.entries(), q.entries(); !reflect.DeepEqual(want, got) {
		t.Errorf("entries: %d and %d, want %d and %d, or others", len(got[0]), len(got[1]), len(want[0]), len(want[1]))
	}
	ctx := testContext(t)
	for _, name := range []string{"RECEIPTD_INBOX", appInboxes, "RECEIPTD_INBOX_POSITIONS", "KV_receiptd_accounts"} {
		a, err := p.js().Stream(ctx, name)
		must(t, err)
		b, err := q.js().Stream(ctx, name)
		must(t, err)
		last := a.CachedInfo().State.LastSeq
		if got := b.CachedInfo().State.LastSeq; got != last || b.CachedInfo().Config.MaxMsgsPerSubject != a.CachedInfo().Config.MaxMsgsPerSubject {
			t.Errorf("%s ends with %d, want %d", name, got, last)
		}
		for sequence := uint64(1); sequence <= last; sequence++ {
			x, err := a.GetMsg(ctx, sequence)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			must(t, err)
			y, err := b.GetMsg(ctx, sequence)
			if err != nil || !reflect.DeepEqual(x, y) {
				t.Errorf("%s, message %d: %+v, %v, want %+v", name, sequence, y, err, x)
			}
		}
	}
	kv, err := q.js().KeyValue(ctx, "receiptd_accounts")
	must(t, err)
	if _, err := kv.Get(ctx, "ben"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("a user who was deleted: %v", err)
	}
}

func TestSecondBackupCopiesOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	p := filled(t, 200)
	dir := t.TempDir()
	first := p.backup(dir)
	before := files(t, dir)
	p.append(5)
	p.mail(3)
	kv, err := p.js().KeyValue(testContext(t), "receiptd_accounts")
	must(t, err)
	_, err = kv.PutString(testContext(t), "ann", "anew") // the value that is in the backup is gone
	must(t, err)
	if second := p.backup(dir); second*3 > first {
		t.Errorf("%d bytes after %d", second, first)
	}
	for name, info := range before {
		if !strings.Contains(name, "RECEIPTS_") {
			continue
		}
		again, err := os.Stat(filepath.Join(dir, name))
		if err != nil || !os.SameFile(info, again) {
			t.Errorf("%s was written again: %v", name, err)
		}
	}
	whole(t, dir)
	same(t, p, restored(t, dir))
	nothing := p.backup(dir)
	if n := len(files(t, dir)); nothing > first/2 || n > len(before)+6 {
		t.Errorf("a backup without anything new: %d bytes, %d files after %d", nothing, n, len(before))
	}
}

// files are those of a backup.
func files(t *testing.T, dir string) map[string]fs.FileInfo {
	t.Helper()
	list := map[string]fs.FileInfo{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		list[name], err = e.Info()
		return err
	}))
	return list
}

// Wherever a backup is cut off, the one before it stays whole, and the next one goes on with what
// is there.
func TestCutOffBackupGoesOn(t *testing.T) {
	t.Parallel()
	p := filled(t, 150)
	dir := t.TempDir()
	whatIsThere := 0
	for round := range 2 {
		d, err := OpenDir(dir)
		must(t, err)
		sent := p.sent(d.Have())
		must(t, d.Close())
		for cut := len(sent) / 7; cut < len(sent)*9/10; cut += len(sent) / 7 {
			d, err := OpenDir(dir)
			must(t, err)
			rest := p.sent(d.Have())
			if len(rest) > len(sent) {
				t.Fatalf("%d bytes are left of %d", len(rest), len(sent))
			}
			_, err = d.Receive(testContext(t), bytes.NewReader(rest[:len(rest)/3]), nil)
			if err == nil || !strings.Contains(err.Error(), "cut off") {
				t.Fatalf("cut at %d: %v", len(rest)/3, err)
			}
			whatIsThere += len(sent) - len(rest)
			must(t, d.Close())
			switch _, err := Open(dir); {
			case round == 0 && err == nil:
				t.Fatal("half a backup is taken for a whole one")
			case round > 0:
				whole(t, dir)
			}
		}
		p.backup(dir)
		whole(t, dir)
		p.append(150)
	}
	if whatIsThere == 0 {
		t.Error("every backup began at its beginning")
	}
	p.backup(dir)
	same(t, p, restored(t, dir))
}

// Whatever bit of whatever file is flipped, verify finds it and a restore refuses it.
func TestEveryFlippedBitOfABackupIsFound(t *testing.T) {
	t.Parallel()
	p := filled(t, 25)
	dir := t.TempDir()
	p.backup(dir)
	random := rand.New(rand.NewPCG(7, 8))
	kinds := map[string]int{}
	for name := range files(t, dir) {
		if name == lockFile {
			continue
		}
		path := filepath.Join(dir, name)
		good, err := os.ReadFile(path)
		must(t, err)
		for range 8 {
			bad := bytes.Clone(good)
			bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
			must(t, os.WriteFile(path, bad, 0o600))
			b, err := Open(dir)
			if err == nil {
				findings, e := b.Verify(testContext(t), nil)
				must(t, e)
				if len(findings) == 0 {
					t.Fatalf("a bit of %s is flipped, and nothing is found", name)
				}
			}
			if _, err := b.secretOrRestore(t, dir); !errors.Is(err, ErrDamaged) {
				t.Fatalf("a bit of %s is flipped, and it is restored: %v", name, err)
			}
		}
		must(t, os.Rename(path, path+".away"))
		if b, err := Open(dir); err == nil {
			if findings, err := b.Verify(testContext(t), nil); err != nil || len(findings) == 0 {
				t.Fatalf("%s is missing, and nothing is found: %v", name, err)
			}
		}
		must(t, os.Rename(path+".away", path))
		must(t, os.WriteFile(path, good, 0o600))
		kinds[filepath.Ext(name)]++
	}
	if len(kinds) != 3 {
		t.Errorf("kinds of files: %v", kinds)
	}
	whole(t, dir)
}

// secretOrRestore reads all that a restore reads.
func (*Backup) secretOrRestore(t *testing.T, dir string) ([]byte, error) {
	if err := newLog(t).restore(dir); err != nil {
		return nil, err
	}
	b, err := Open(dir)
	must(t, err)
	return b.Secret("token.key")
}

func TestBackupOfAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	p := filled(t, 10)
	dir := t.TempDir()
	p.backup(dir)
	d, err := OpenDir(dir)
	must(t, err)
	if _, err := OpenDir(dir); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("opened twice: %v", err)
	}
	have := d.Have()
	must(t, d.Close())
	q := restored(t, dir)
	if err := Send(testContext(t), new(bytes.Buffer), q.origin(), have); !errors.Is(err, ErrForeign) {
		t.Errorf("a log after its restore: %v", err)
	}
	// The same log, and another history.
	for name, change := range map[string]func(x *HaveStream){
		"another entry": func(x *HaveStream) { x.Fingerprint++ },
		"beyond it":     func(x *HaveStream) { x.Last += 1000 },
	} {
		other := Have{Log: have.Log, Streams: map[string]HaveStream{}}
		x := have.Streams["RECEIPTS_1"]
		change(&x)
		other.Streams["RECEIPTS_1"] = x
		if err := Send(testContext(t), new(bytes.Buffer), p.origin(), other); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	must(t, os.WriteFile(filepath.Join(t.TempDir(), "x"), nil, 0o600))
	full := t.TempDir()
	must(t, os.WriteFile(filepath.Join(full, "x"), nil, 0o600))
	if _, err := OpenDir(full); err == nil {
		t.Error("a directory with something else is taken")
	}
	if err := p.restore(dir); err == nil || !strings.Contains(err.Error(), "there is a log") {
		t.Errorf("a restore over a log: %v", err)
	}
}

// What retention took from a log before a backup is not in it; what it took after one is.
func TestBackupOfATrimmedLog(t *testing.T) {
	t.Parallel()
	p := filled(t, 100)
	dir := t.TempDir()
	p.backup(dir)
	must(t, p.log.Trim(testContext(t), 0, 50))
	p.append(10)
	p.backup(dir)
	whole(t, dir)
	q := restored(t, dir)
	if list := q.entries(); len(list[0]) != 110 || list[0][0].Sequence != 1 {
		t.Errorf("%d entries from %d on", len(list[0]), list[0][0].Sequence)
	}
	// The log goes on without what the backup would need.
	must(t, p.log.Trim(testContext(t), 0, 111))
	p.append(20)
	must(t, p.log.Trim(testContext(t), 0, 121))
	p.backup(dir)
	whole(t, dir)
	q = restored(t, dir)
	if list := q.entries(); len(list[0]) != 10 || list[0][0].Sequence != 121 || len(list[1]) != 130 {
		t.Errorf("%d and %d entries, from %d on", len(list[0]), len(list[1]), list[0][0].Sequence)
	}
	q.close()
	q.open()
	fresh := t.TempDir()
	p.backup(fresh)
	same(t, p, restored(t, fresh))
	// Nothing is left of it at all.
	p.append(5)
	must(t, p.log.Trim(testContext(t), 0, 136))
	for _, dir := range []string{dir, t.TempDir()} {
		p.backup(dir)
		whole(t, dir)
		q = restored(t, dir)
		if first, last, err := q.log.Bounds(testContext(t), 0); err != nil || first != 136 || last != 135 {
			t.Errorf("from %d to %d, %v", first, last, err)
		}
		q.append(1)
		if list := q.entries(); len(list[0]) != 1 || list[0][0].Sequence != 136 {
			t.Errorf("it goes on with %+v", list[0])
		}
	}
}

// hooked calls a function when something is written.
type hooked struct {
	bytes.Buffer
	what string
	call func()
}

func (h *hooked) Write(b []byte) (int, error) {
	if h.call != nil && bytes.Contains(b, []byte(h.what)) {
		call := h.call
		h.call = nil
		call()
	}
	return h.Buffer.Write(b)
}

// What comes while a backup is made leaves nothing in it that refers to what is missing: a position
// in an inbox has its message, and an inbox no message that came after the log was copied.
func TestWhatRefersIsCopiedFirst(t *testing.T) {
	t.Parallel()
	p := filled(t, 20)
	dir := t.TempDir()
	d, err := OpenDir(dir)
	must(t, err)
	defer d.Close()
	o := p.origin()
	digests := o.Digests
	o.Digests = func(ctx context.Context, upto []uint64) ([]State, error) {
		p.mail(3)
		p.append(1) // which the state has by then
		return digests(ctx, upto)
	}
	out := &hooked{what: "streams/RECEIPTD_INBOX_POSITIONS/", call: func() { p.mail(3) }}
	must(t, Send(testContext(t), out, o, d.Have()))
	if out.call != nil {
		t.Fatal("nothing came between")
	}
	m, err := d.Receive(testContext(t), out, nil)
	must(t, err)
	want := map[string]uint64{"RECEIPTS_0": 21, "RECEIPTS_1": 21, "RECEIPTD_INBOX": 43, appInboxes: 143, "RECEIPTD_INBOX_POSITIONS": 1}
	for name, last := range want {
		if got := m.stream(name).Last; got != last {
			t.Errorf("%s up to %d, want %d", name, got, last)
		}
	}
}
