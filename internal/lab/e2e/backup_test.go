package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
)

// backedUp is what receiptctl says of a backup.
type backedUp struct {
	Log     string
	Whole   bool
	Streams []struct {
		Stream string
		Last   uint64
		Bytes  int64
	}
	State    []struct{ Digest string }
	Findings []string
}

func decodeBackup(t *testing.T, got result) (b backedUp) {
	t.Helper()
	if err := json.Unmarshal([]byte(got.out), &b); err != nil || got.code != 0 || !b.Whole || len(b.State) == 0 {
		t.Fatalf("%v: %v", err, got)
	}
	return b
}

// backup brings a backup of the running server up to date.
func (s *server) backup(dir string, args ...string) backedUp {
	s.t.Helper()
	return decodeBackup(s.t.(*testing.T), s.ctl(append([]string{"backup", dir, "--json"}, args...)...))
}

// verifyBackup reads a backup.
func verifyBackup(t *testing.T, dir string) backedUp {
	t.Helper()
	return decodeBackup(t, run(t, "receiptctl", nil, "backup", "verify", dir, "--json"))
}

// restored is a server on data that is restored from a backup, not started yet.
func restored(t *testing.T, dir string) *server {
	t.Helper()
	s := newServer(t)
	got := run(t, "receiptctl", nil, "restore", dir, "--data", s.data, "--json")
	var r struct {
		Proven bool
		Log    string
	}
	if err := json.Unmarshal([]byte(got.out), &r); err != nil || got.code != 0 || !r.Proven || r.Log == "" {
		t.Fatalf("restore: %v: %v", err, got)
	}
	return s
}

// TestBackupUnderLoad makes backups while events come in, kills receiptctl and the server in the
// middle of some, and restores: whatever was answered before a backup is in it. A client with a
// position of the life before is told so. The log of the restored server is then damaged and mended
// from a backup.
func TestBackupUnderLoad(t *testing.T) {
	r := random(t)
	s := startServer(t)
	const app = "acme#backup"
	s.must("PUT", appPath(app), nil, nil)
	s.apply(app,
		events.Event{Kind: events.MessageSent, Message: "m1", User: "ann", Peer: "ben"},
		events.Event{Kind: events.MessageRead, Message: "m1", User: "ben", Peer: "ann"})
	l := newLoad(s, r.Uint64(), 4)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 5000 })
	dir := filepath.Join(t.TempDir(), "backup")
	cut := 0
	for n := range 8 {
		p, err := start("receiptctl", s.target([]string{"backup", dir}), environ())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond) // a random moment of the backup
		if n%4 == 3 {
			s.crash(l)
		} else {
			p.signal(syscall.SIGKILL)
		}
		if code, err := p.wait(); err != nil || code != 0 {
			cut++
		}
		if n%2 == 1 {
			s.backup(dir)
			verifyBackup(t, dir)
		}
	}
	t.Logf("%d of 8 backups were cut off", cut)
	answered := l.sample(200)
	during := s.backup(dir)
	l.finish()
	copyOfIt := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(copyOfIt, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	last := s.backup(dir)
	if last.Log != during.Log {
		t.Errorf("log %s, then %s", during.Log, last.Log)
	}
	var summary struct{ Cursor string }
	s.must("GET", appPath(app)+"/users/ann/statistics", nil, &summary)
	s.stop()

	q := restored(t, copyOfIt)
	q.start()
	l.s = q
	l.atLeast(answered)
	q.stop()

	q = restored(t, dir)
	q.start()
	l.s = q
	l.exact()
	q.verify()
	q.knowsNotTheCursor(app, "ann", summary.Cursor)

	if got := q.ctl("backup", dir); got.code != 1 || !strings.Contains(got.err, "another log") {
		t.Errorf("a backup into that of the life before: %v", got)
	}
	next := filepath.Join(t.TempDir(), "next")
	q.backup(next, "--secrets")
	q.stop()
	withSecrets := restored(t, next)
	for _, name := range []string{"token.key", "admin.key"} {
		want, err := os.ReadFile(filepath.Join(q.data, name))
		if got, e := os.ReadFile(filepath.Join(withSecrets.data, name)); err != nil || e != nil || string(got) != string(want) {
			t.Errorf("%s is another one: %v, %v", name, err, e)
		}
	}
	q.mendsFrom(next)
	q.start()
	l.exact()
	q.verify()
	q.stop()
	if b := decodeBackup(t, run(t, "receiptctl", nil, "backup", next, "--data", q.data, "--json")); b.Log == last.Log {
		t.Errorf("the restored log is still %s", b.Log)
	}
	verifyBackup(t, next)
}

// knowsNotTheCursor comes with a cursor of another life, which must acknowledge nothing.
func (s *server) knowsNotTheCursor(app, user, cursor string) {
	s.t.Helper()
	path := appPath(app) + "/users/" + user
	err := s.call("POST", path+"/statistics:ack", map[string]string{"cursor": cursor}, nil)
	if err == nil || !strings.Contains(err.Error(), "foreign_cursor") {
		s.t.Errorf("acknowledged with a foreign cursor: %v", err)
	}
	base, key := s.address()
	request, err := http.NewRequest("GET", base+path+"/stream", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Last-Event-ID", cursor)
	answer, err := web.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	var text []byte
	for chunk := make([]byte, 1024); !strings.Contains(string(text), "statistic"); {
		n, err := answer.Body.Read(chunk)
		if text = append(text, chunk[:n]...); err != nil {
			s.t.Fatalf("%q, %v", text, err)
		}
	}
	if !strings.Contains(string(text), "event: resync") || !strings.Contains(string(text), "m1") {
		s.t.Errorf("the stream begins with %q", text)
	}
}

// mendsFrom damages the stopped server's log and has it mended from a backup that has all of it.
func (s *server) mendsFrom(dir string) {
	s.t.Helper()
	blocks, err := filepath.Glob(filepath.Join(s.streamDir("RECEIPTS_0"), "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		s.t.Fatal(blocks, err)
	}
	s.flip(blocks[0])
	s.refuses("block_damaged")
	if got := run(s.t, "receiptctl", nil, "repair", "--data", s.data); got.code != 1 {
		s.t.Errorf("a repair that nobody allowed: %v", got)
	}
	if got := run(s.t, "receiptctl", nil, "repair", "--from", dir, "--data", s.data); got.code != 0 || !strings.Contains(got.out, "from the backup: 1") || strings.Contains(got.out, "lost") {
		s.t.Errorf("repair: %v", got)
	}
}

// TestDamagedBackupIsFoundAndNotRestored flips bits of each kind of file.
func TestDamagedBackupIsFoundAndNotRestored(t *testing.T) {
	s := startServer(t)
	const app = "acme#backup"
	s.must("PUT", appPath(app), nil, nil)
	for _, group := range []string{"a", "b", "c", "d"} { // in both partitions
		s.apply(app, events.Event{Kind: events.GroupCreated, Group: group, User: "ann", Members: []string{"ben"}})
	}
	dir := filepath.Join(t.TempDir(), "backup")
	s.backup(dir, "--secrets")
	first := run(t, "receiptctl", nil, "restore", dir, "--data", s.data)
	if first.code != 1 || !strings.Contains(first.err, "overwrites nothing") {
		t.Errorf("a restore over the server's data: %v", first)
	}
	kinds := map[string]bool{}
	for _, pattern := range []string{"manifest.json", "streams/RECEIPTS_*/*.blk", "secrets/*"} {
		list, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: %v, %v", pattern, list, err)
		}
		for _, path := range list {
			kinds[pattern] = true
			s.flip(path)
			if got := run(t, "receiptctl", nil, "backup", "verify", dir); got.code != 1 || !strings.Contains(got.out+got.err, filepath.Base(path)) {
				t.Errorf("%s is damaged: %v", path, got)
			}
			data := filepath.Join(t.TempDir(), "data")
			if got := run(t, "receiptctl", nil, "restore", dir, "--data", data); got.code != 1 || !strings.Contains(got.err, "damaged") {
				t.Errorf("%s is damaged, restored: %v", path, got)
			}
			if _, err := os.Stat(data); err == nil {
				t.Errorf("%s is damaged, and there is data", path)
			}
			s.flip(path)
		}
	}
	verifyBackup(t, dir)
	if got := s.ctl("backup", "-"); got.code != 0 || !strings.Contains(got.out, "manifest.json") {
		t.Errorf("a tar: exit %d, %s", got.code, got.err)
	}
	if got := run(t, "receiptctl", nil, "backup", "verify", t.TempDir()); got.code != 1 {
		t.Errorf("an empty directory: %v", got)
	}
}

// TestBackupOntoAFullDisk: a backup that the disk has no room for fails and says so, the one before
// it stays whole, and with room again the next one goes on.
func TestBackupOntoAFullDisk(t *testing.T) {
	disk, ok := mount(t, "size=24m")
	if !ok {
		t.Skip("no mounts here")
	}
	s := startServer(t)
	dir := filepath.Join(disk, "backup")
	first := s.backup(dir)
	l := newLoad(s, random(t).Uint64(), 4)
	l.start()
	eventually(t, "the log grows", func() bool {
		b := int64(0)
		list, _ := filepath.Glob(filepath.Join(s.data, "log/jetstream/RECEIPTS/streams/RECEIPTS_*/msgs/*.blk"))
		for _, path := range list {
			if info, err := os.Stat(path); err == nil {
				b += info.Size()
			}
		}
		return b > 600<<10
	})
	l.finish()
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Truncate(size(t, f) - 64<<10); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := s.ctl("backup", dir); got.code != 1 || !strings.Contains(got.err, "no space left") {
		t.Errorf("a backup without room: %v", got)
	}
	if b := verifyBackup(t, dir); !slices.Equal(b.State, first.State) {
		t.Errorf("the backup before is another one: %+v, was %+v", b, first)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.backup(dir)
	verifyBackup(t, dir)
	s.stop()
	q := restored(t, dir)
	q.start()
	l.s = q
	l.exact()
}

func size(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestKillWhileRestoring kills restores: until one is done there is no data directory, and the next
// one begins anew.
func TestKillWhileRestoring(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const app = "acme#restore"
	s.must("PUT", appPath(app), nil, nil)
	for n := range 20 {
		s.apply(app, events.Event{Kind: events.MessageSent, Message: fmt.Sprint("m", n), User: "ann", Peer: "ben"})
	}
	dir := filepath.Join(t.TempDir(), "backup")
	s.backup(dir)
	s.stop()
	data := filepath.Join(t.TempDir(), "data")
	work := data + ".restoring"
	for _, step := range []string{".", "log", "state"} {
		p, err := start("receiptctl", []string{"restore", dir, "--data", data}, environ())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the restore has begun with "+step, func() bool {
			_, err := os.Stat(filepath.Join(work, step))
			return err == nil || !p.running()
		})
		p.signal(syscall.SIGKILL)
		if code, err := p.wait(); err != nil || code == 0 {
			t.Fatalf("the restore ended with %d, %v before it was killed", code, err)
		}
		if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("killed at %s, the data directory is there: %v", step, err)
		}
	}
	if got := run(t, "receiptctl", nil, "restore", dir, "--data", data, "--json"); got.code != 0 {
		t.Fatalf("the next restore: %v", got)
	}
	if _, err := os.Stat(work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was killed is left: %v", err)
	}
	again := newServerAt(t, data)
	again.start()
	for n := range 20 {
		again.must("GET", appPath(app)+"/messages/"+fmt.Sprint("m", n), nil, nil)
	}
	again.verify()
}
