package e2e

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// covered waits until every partition has a snapshot of what it has folded now, and one before.
func (s *server) covered() {
	s.t.Helper()
	type partition struct {
		Applied  uint64
		Snapshot struct{ Sequence, Covered uint64 }
	}
	status := func() (now struct{ Partitions []partition }) {
		s.must("GET", "/v1/status", nil, &now)
		return now
	}
	want := status().Partitions
	eventually(s.t, "two snapshots are kept, one of what is folded", func() bool {
		for k, p := range status().Partitions {
			if p.Snapshot.Covered == 0 || p.Snapshot.Sequence < want[k].Applied {
				// There has to be news for another one.
				if p.Snapshot.Covered == 0 && p.Snapshot.Sequence >= want[k].Applied {
					s.must("PUT", appPath("other#app"), struct{}{}, nil)
				}
				return false
			}
		}
		return true
	})
}

// loseState removes the state of a server that does not run.
func (s *server) loseState() {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.data, "state")); err != nil {
		s.t.Fatal(err)
	}
}

// proven has the state proven from a snapshot, and returns after which entries of the log.
func (s *server) proven(command string) (after uint64) {
	s.t.Helper()
	r := s.ctl(command, "--from=snapshot", "--json")
	equal(s.t, r)
	var v struct{ Partitions []struct{ After uint64 } }
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		s.t.Fatal(err)
	}
	for _, p := range v.Partitions {
		after = max(after, p.After)
	}
	return after
}

// TestLogIsBoundedBehindSnapshots: entries leave the log once two snapshots cover them, with no
// ClickHouse at all. A server that then loses its state begins from a snapshot and knows all, and
// so does one that is killed while it fetches it.
func TestLogIsBoundedBehindSnapshots(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := startServer(t, "--partitions=2", "--snapshot-every=1s", "--snapshot-rate=1GiB", "--retain-age=1s")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	l := newLoad(s, r.Uint64(), 2)
	l.start()
	eventually(t, "the log has lost its start", func() bool {
		time.Sleep(500 * time.Millisecond) // the log of the server is long to read
		return strings.Contains(s.log(), "entries left the log")
	})
	l.finish()
	l.exact()
	s.covered()
	if after := s.proven("verify"); after == 0 {
		t.Error("verify folded everything, and the log has lost its start")
	}
	if out := s.ctl("verify"); out.code == 0 || !strings.Contains(out.err, "--from snapshot") {
		t.Errorf("verify from the log: %v", out)
	}

	s.kill()
	s.loseState()
	fetching := filepath.Join(s.data, "state", "p*", "incoming-*", "*")
	caught := 0
	for range 6 { // killed while it fetches, if it can be caught
		p, err := start("receiptd", append([]string{"--data", s.data, "--listen=127.0.0.1:0"}, s.args...), environ())
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(patience); time.Now().Before(end) && p.running() && !strings.Contains(p.out.String(), "http://"); {
			if files, _ := filepath.Glob(fetching); len(files) > r.IntN(4) {
				caught++
				break
			}
			time.Sleep(time.Millisecond)
		}
		p.signal(9)
		if _, err := p.wait(); err != nil {
			t.Fatal(err)
		}
		s.loseStateUnlessFetching()
	}
	if caught == 0 {
		t.Error("no kill hit a fetch")
	}
	s.start()
	l.exact()
	if left, _ := filepath.Glob(filepath.Join(s.data, "state", "p*", "incoming-*")); len(left) > 0 {
		t.Errorf("what was fetched in part is left: %v", left)
	}
	if !strings.Contains(s.log(), "the state begins from a snapshot") {
		t.Error("the state does not begin from a snapshot")
	}
	s.chat("x", 0, 20)
	s.proven("replay")
	s.proven("verify")
	l.exact()

	s.stop()
	s.loseState()
	out := run(t, "receiptctl", environ(), "replay", "--data", s.data, "--from=snapshot")
	if out.code != 0 || !strings.Contains(out.out, "onto a snapshot") {
		t.Fatalf("replay on a stopped server's data: %v", out)
	}
	s.start()
	l.exact()
}

// loseStateUnlessFetching has the next start fetch again, if this one was through with it.
func (s *server) loseStateUnlessFetching() {
	s.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.data, "state", "p*", "incoming-*")); len(left) == 0 {
		s.loseState()
	}
}

// TestKillWhileASnapshotIsMade kills the server while it stores a snapshot and reads it back. What
// was stored in part is removed, the snapshots before stay, and the next ones are made.
func TestKillWhileASnapshotIsMade(t *testing.T) {
	t.Parallel()
	r := random(t)
	s := startServer(t, "--partitions=1", "--snapshot-every=1s", "--snapshot-rate=256KiB")
	l := newLoad(s, r.Uint64(), 2)
	l.start()
	making := 0
	for kills := 0; kills < 6 || making == 0 && kills < 30; kills++ {
		eventually(t, "a snapshot is being made", func() bool {
			files, _ := filepath.Glob(filepath.Join(s.data, "snapshots", "*", "*"))
			return len(files) > 0
		})
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		if files, _ := filepath.Glob(filepath.Join(s.data, "snapshots", "*", "*")); len(files) > 0 {
			making++
		}
		answered := s.crash(l)
		l.atLeast(answered)
	}
	if making == 0 {
		t.Error("no kill hit a snapshot under way")
	}
	l.finish()
	s.stop()
	s.args = []string{"--partitions=1", "--snapshot-every=1s", "--snapshot-rate=1GiB"}
	s.start()
	l.exact()
	s.covered()
	if after := s.proven("verify"); after == 0 {
		t.Error("verify begins from no snapshot")
	}
	s.stop()
	s.loseState()
	s.start()
	if !strings.Contains(s.log(), "the state begins from a snapshot") {
		t.Error("the state does not begin from a snapshot")
	}
	l.exact()
	s.verify()
}

// TestDamagedSnapshotsDoNotStopAStart: bits flip in the files of the snapshots. The log is none the
// worse, so the server starts; a state that was lost meanwhile is folded from the log, and
// snapshots are made anew.
func TestDamagedSnapshotsDoNotStopAStart(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--partitions=1", "--snapshot-every=1s", "--snapshot-rate=1GiB")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	l := newLoad(s, random(t).Uint64(), 2)
	l.start()
	eventually(t, "events are accepted", func() bool { return l.accepted() > 5000 })
	l.finish()
	s.covered()
	s.stop()
	s.loseState()
	flipped := 0
	err := filepath.WalkDir(filepath.Join(s.data, "log"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".blk") || !strings.Contains(path, "OBJ_receiptd_snapshots") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := 300; at < len(b); at += 4 << 10 {
			b[at] ^= 4
			flipped++
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || flipped == 0 {
		t.Fatalf("%d bits flipped: %v", flipped, err)
	}
	if out := run(t, "receiptctl", environ(), "doctor", "--data", s.data); out.code != 0 || !strings.Contains(out.out, "made anew") {
		t.Errorf("doctor: %v", out)
	}
	s.start()
	l.exact()
	if !strings.Contains(s.log(), "a snapshot is passed over") {
		t.Error("no snapshot was passed over")
	}
	s.verify()
	s.chat("x", 0, 20)
	s.covered()
	if after := s.proven("verify"); after == 0 {
		t.Error("verify begins from no snapshot")
	}
}
