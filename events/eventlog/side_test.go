package eventlog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/witness"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// side is a stream beside the log, with several block files.
const side = "RECEIPTD_INBOX_APP_side"

// sideConfig has blocks that are full after some forty messages of [sidePut].
func sideConfig(age time.Duration) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: side, Subjects: []string{"receipts.inbox.v2.side.>"}, Storage: jetstream.FileStorage,
		MaxAge: age, MaxBytes: 64 << 20, MaxMsgsPerSubject: 3, AllowDirect: true,
	}
}

func (d *damaged) side(l *eventlog.Log) jetstream.JetStream {
	d.t.Helper()
	nc, err := l.Connect(testContext(d.t), "side")
	d.must(err)
	js, err := jetstream.New(nc)
	d.must(err)
	return js
}

// sidePut stores a message for each of some users.
func (d *damaged) sidePut(js jetstream.JetStream, from, to int) {
	d.t.Helper()
	for n := from; n < to; n++ {
		_, err := js.Publish(testContext(d.t), fmt.Sprintf("receipts.inbox.v2.side.%d", n), bytes.Repeat([]byte{byte(n)}, 200_000))
		d.must(err)
	}
}

func (d *damaged) sideBlock(n int) string {
	return filepath.Join(filepath.Dir(d.stream("0")), side, "msgs", fmt.Sprint(n, ".blk"))
}

// sideMessages is how many messages the stream has once it is opened.
func (d *damaged) sideMessages() uint64 {
	d.t.Helper()
	l := natstest.OpenLog(d.t, d.cfg)
	defer natstest.CloseLog(d.t, l)
	s, err := d.side(l).Stream(testContext(d.t), side)
	d.must(err)
	return s.CachedInfo().State.Msgs
}

// findings are those of an inspection.
func (d *damaged) findings() []eventlog.Finding {
	d.t.Helper()
	i, err := eventlog.Inspect(context.Background(), d.cfg.Dir, d.cfg.WitnessDir, 0, nil)
	d.must(err)
	return i.Findings
}

// newSide is a closed log with 100 messages in a stream beside it.
func newSide(t *testing.T, age time.Duration) *damaged {
	t.Helper()
	d := newDamaged(t)
	l := natstest.OpenLog(t, d.cfg)
	js := d.side(l)
	_, err := js.CreateStream(testContext(t), sideConfig(age))
	d.must(err)
	d.sidePut(js, 0, 100)
	natstest.CloseLog(t, l)
	if _, err := os.Stat(d.sideBlock(3)); err != nil {
		t.Fatalf("fewer than three blocks: %v", err)
	}
	return d
}

// In a stream from which messages go by themselves, a block that is missing or shorter is no less
// a loss than in the log.
func TestLossBesideTheLogIsRefused(t *testing.T) {
	t.Parallel()
	for _, age := range []time.Duration{0, time.Hour} {
		d := newSide(t, age)
		blocks := map[int]string{}
		for n := 1; n <= 3; n++ {
			b, err := os.ReadFile(d.sideBlock(n))
			d.must(err)
			blocks[n] = string(b)
		}
		kept := filepath.Join(d.cfg.Dir, "kept")
		d.must(os.Rename(kept, kept+".away"))
		record := int(binary.LittleEndian.Uint32([]byte(blocks[2])) &^ (1 << 31))
		newest := len(blocks[3]) - len(blocks[3])%record
		for name, c := range map[string]struct {
			block int
			left  string
			code  string
		}{
			"the first is gone":          {1, "", eventlog.CodeEntriesMissing},
			"the second is gone":         {2, "", eventlog.CodeEntriesMissing},
			"the newest is gone":         {3, "", eventlog.CodeShorter},
			"half of the newest":         {3, blocks[3][:newest/2+7], eventlog.CodeShorter},
			"whole records of the last":  {3, blocks[3][:record], eventlog.CodeShorter},
			"whole records of the first": {1, blocks[1][:2*record], eventlog.CodeEntriesMissing},
			"a bit at the very end":      {3, blocks[3][:len(blocks[3])-20] + "x" + blocks[3][len(blocks[3])-19:], eventlog.CodeShorter},
		} {
			if c.left == "" {
				d.must(os.Remove(d.sideBlock(c.block)))
			} else {
				d.must(os.WriteFile(d.sideBlock(c.block), []byte(c.left), 0o600))
			}
			f := d.refused(c.code, side)
			if f.First == 0 || f.Last < f.First || c.code == eventlog.CodeEntriesMissing && f.File != d.sideBlock(c.block) {
				t.Errorf("age %v, %s: %+v", age, name, f)
			}
			d.must(os.WriteFile(d.sideBlock(c.block), []byte(blocks[c.block]), 0o600))
		}
		d.must(os.Rename(kept+".away", kept))
		if got := d.sideMessages(); got != 100 {
			t.Errorf("age %v: %d of 100 messages", age, got)
		}
	}
}

// A block that somebody removes has a hard link, from which a start puts it back.
func TestBlockBesideTheLogIsPutBack(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		d := newSide(t, time.Hour)
		missing := []int{n}
		d.must(os.Remove(d.sideBlock(n)))
		if n == 3 { // with the directory of all of them
			missing = []int{1, 2, 3}
			d.must(os.RemoveAll(filepath.Dir(d.sideBlock(n))))
		}
		if list := d.findings(); len(list) != len(missing) || list[0].Code != eventlog.CodeBlockKept || list[0].Fatal {
			t.Errorf("block %d: findings %v", n, list)
		}
		if got := d.sideMessages(); got != 100 {
			t.Errorf("block %d: %d of 100 messages", n, got)
		}
		if list := d.findings(); len(list) != 0 {
			t.Errorf("block %d: findings %v after it", n, list)
		}
	}
}

// What limits, deletions and age take away is not missed, whether the witness has heard of it or
// the process was killed before.
func TestWhatRightlyLeftIsNotMissed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age   time.Duration
		leave func(d *damaged, js jetstream.JetStream)
		left  uint64
		// back is how many deletions a kill takes back at most: of a block that they emptied
		// the server keeps no trace.
		back uint64
	}{
		"a purge of all": {time.Hour, func(d *damaged, js jetstream.JetStream) {
			s, err := js.Stream(testContext(t), side)
			d.must(err)
			d.must(s.Purge(testContext(t)))
		}, 0, 100},
		"purges of users": {time.Hour, func(d *damaged, js jetstream.JetStream) {
			s, err := js.Stream(testContext(t), side)
			d.must(err)
			for n := range 60 {
				d.must(s.Purge(testContext(t), jetstream.WithPurgeSubject(fmt.Sprintf("receipts.inbox.v2.side.%d", n))))
			}
		}, 40, 60},
		"others in their place": {time.Hour, func(d *damaged, js jetstream.JetStream) {
			for range 4 {
				d.sidePut(js, 0, 60)
			}
		}, 60*3 + 40, 0},
		"deletions": {0, func(d *damaged, js jetstream.JetStream) {
			s, err := js.Stream(testContext(t), side)
			d.must(err)
			for n := uint64(1); n <= 97; n++ {
				d.must(s.DeleteMsg(testContext(t), n))
			}
		}, 3, 3},
		"age": {2 * time.Second, func(d *damaged, js jetstream.JetStream) {
			eventually(d.t, "all are gone", func() bool {
				s, err := js.Stream(testContext(t), side)
				d.must(err)
				return s.CachedInfo().State.Msgs == 0
			})
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newSide(t, c.age)
			if c.age == 2*time.Second {
				time.Sleep(c.age) // all of them go at the start
			}
			l := natstest.OpenLog(t, d.cfg)
			js := d.side(l)
			killed := d.cfg // as a kill leaves it just before the witness hears of it
			root := t.TempDir()
			killed.Dir, killed.WitnessDir = filepath.Join(root, "log"), filepath.Join(root, "witness")
			d.must(copyTree(killed.WitnessDir, d.cfg.WitnessDir))
			d.must(copyTree(filepath.Join(killed.Dir, "kept"), filepath.Join(d.cfg.Dir, "kept")))
			c.leave(d, js)
			d.must(copyTree(filepath.Join(killed.Dir, "jetstream"), filepath.Join(d.cfg.Dir, "jetstream")))
			natstest.CloseLog(t, l)
			for _, x := range []struct {
				*damaged
				back uint64
			}{{d, 0}, {&damaged{t: t, cfg: killed, entries: d.entries}, c.back}} {
				d := x.damaged
				for _, f := range d.findings() {
					if f.Fatal {
						t.Errorf("finding %v", f)
					}
				}
				for range 2 {
					if got := d.sideMessages(); got < c.left || got > c.left+x.back {
						t.Errorf("%d messages, want %d, and %d at most that are back", got, c.left, x.back)
					}
				}
				kept, err := filepath.Glob(filepath.Join(d.cfg.Dir, "kept", side, "*"))
				d.must(err)
				blocks, err := filepath.Glob(filepath.Join(filepath.Dir(d.sideBlock(1)), "*.blk"))
				d.must(err)
				if len(kept) > len(blocks)+1 {
					t.Errorf("%d hard links of %d blocks", len(kept), len(blocks))
				}
			}
		})
	}
}

// copyTree copies the files of a log in use, but for the summaries, which a kill makes stale.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(from, path)
		switch {
		case os.IsNotExist(err):
			return nil
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case e.Name() == "index.db":
			return nil
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
}

// A witness that was written before blocks were noted is read, and says what it said.
func TestWitnessWithoutBlocksIsRead(t *testing.T) {
	t.Parallel()
	d := newSide(t, time.Hour)
	attestations, err := witness.Read(d.cfg.WitnessDir)
	d.must(err)
	for stream, m := range attestations {
		if noted := m.Blocks != ""; noted != strings.Contains(stream, side) {
			t.Errorf("stream %s: blocks %q", stream, m.Blocks)
		}
		m.Blocks = ""
		attestations[stream] = m
	}
	d.must(os.RemoveAll(d.cfg.WitnessDir))
	f, err := witness.Open(d.cfg.WitnessDir)
	d.must(err)
	d.must(f.Write(attestations))
	if got := d.sideMessages(); got != 100 {
		t.Errorf("%d of 100 messages", got)
	}
}
