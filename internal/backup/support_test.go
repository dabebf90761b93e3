package backup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

func TestMain(m *testing.M) {
	blockBytes = 2 << 10 // so that little is many blocks
	os.Exit(m.Run())
}

const testPartitions = 2

// logAt is a log in a directory of its own.
type logAt struct {
	t   testing.TB
	cfg eventlog.Config
	log *eventlog.Log
}

func newLog(t testing.TB) *logAt {
	t.Helper()
	root := t.TempDir()
	return &logAt{t: t, cfg: eventlog.Config{
		Dir: filepath.Join(root, "log"), WitnessDir: filepath.Join(root, "witness"), Logger: natstest.Logger(t),
	}}
}

// filled is an open log with entries, accounts and inboxes.
func filled(t testing.TB, entries int) *logAt {
	t.Helper()
	p := newLog(t)
	p.cfg.Partitions = testPartitions
	p.open()
	p.append(entries)
	js := p.js()
	ctx := testContext(t)
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "receiptd_accounts", History: 1, Storage: jetstream.FileStorage})
	must(t, err)
	for _, key := range []string{"ann", "ben", "ann", "cleo"} {
		_, err := kv.PutString(ctx, key, "of "+key)
		must(t, err)
	}
	must(t, kv.Delete(ctx, "ben"))
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "RECEIPTD_INBOX", Subjects: []string{"inbox.*"}},
		{Name: appInboxes, Subjects: []string{"mail.>"}, FirstSeq: 101},
		{Name: "RECEIPTD_INBOX_POSITIONS", Subjects: []string{"position.*"}, MaxMsgsPerSubject: 1},
	} {
		cfg.AllowDirect = true
		_, err := js.CreateStream(ctx, cfg)
		must(t, err)
	}
	p.mail(40)
	return p
}

// appInboxes is the stream of one app's inboxes, which begin where those of an older version end.
const appInboxes = "RECEIPTD_INBOX_APP_0011"

// mail puts messages into inboxes, removes those of one user and the last one of all, and notes a
// position at the end.
func (p *logAt) mail(n int) {
	p.t.Helper()
	ctx, js := testContext(p.t), p.js()
	var last uint64
	for i := range n {
		ack, err := js.Publish(ctx, fmt.Sprint("inbox.u", i%3), fmt.Append(nil, "message ", i, bytes.Repeat([]byte("x"), 100)))
		must(p.t, err)
		last = ack.Sequence
		_, err = js.Publish(ctx, fmt.Sprint("mail.u", i%3), fmt.Append(nil, "of an app ", i))
		must(p.t, err)
	}
	inbox, err := js.Stream(ctx, "RECEIPTD_INBOX")
	must(p.t, err)
	must(p.t, inbox.Purge(ctx, jetstream.WithPurgeSubject("inbox.u1")))
	if (n-1)%3 != 1 {
		must(p.t, inbox.DeleteMsg(ctx, last))
	}
	_, err = js.Publish(ctx, "position.u0", fmt.Append(nil, last))
	must(p.t, err)
}

func (p *logAt) open() {
	p.t.Helper()
	p.log = natstest.OpenLog(p.t, p.cfg)
}

func (p *logAt) close() { natstest.CloseLog(p.t, p.log) }

func (p *logAt) js() jetstream.JetStream {
	p.t.Helper()
	nc, err := p.log.Connect(testContext(p.t), "test")
	must(p.t, err)
	js, err := jetstream.New(nc)
	must(p.t, err)
	return js
}

func (p *logAt) append(n int) {
	p.t.Helper()
	ctx := testContext(p.t)
	for i := range n {
		for k := range testPartitions {
			ticket, err := p.log.SubmitTo(ctx, k, []events.Event{{Kind: events.StatisticSeen, App: "o#a", User: fmt.Sprint("user", i), Upto: 1}})
			must(p.t, err)
			must(p.t, ticket.Wait(ctx))
		}
	}
}

// entries are all that a log holds, of each partition.
func (p *logAt) entries() (list [testPartitions][]eventlog.Entry) {
	p.t.Helper()
	ctx := testContext(p.t)
	for k := range testPartitions {
		first, last, err := p.log.Bounds(ctx, k)
		must(p.t, err)
		r, err := p.log.Read(ctx, k, first-1)
		must(p.t, err)
		for range last - first + 1 {
			e, err := r.Next(ctx)
			must(p.t, err)
			list[k] = append(list[k], e)
		}
		r.Close()
	}
	return list
}

// origin has the ends of the log for the state's positions.
func (p *logAt) origin() Origin {
	return Origin{Log: p.log, Secrets: map[string][]byte{"token.key": []byte("secret\n")}, Digests: func(ctx context.Context, _ []uint64) ([]State, error) {
		list := make([]State, testPartitions)
		for k := range list {
			_, last, err := p.log.Bounds(ctx, k)
			if err != nil {
				return nil, err
			}
			list[k] = State{Partition: k, Position: last, Digest: "digest"}
		}
		return list, nil
	}}
}

// sent is what Send sends to what there is.
func (p *logAt) sent(have Have) []byte {
	p.t.Helper()
	var b bytes.Buffer
	must(p.t, Send(testContext(p.t), &b, p.origin(), have))
	return b.Bytes()
}

// backup brings a directory up to date and returns how many bytes that took.
func (p *logAt) backup(dir string) int {
	p.t.Helper()
	d, err := OpenDir(dir)
	must(p.t, err)
	defer d.Close()
	sent := p.sent(d.Have())
	_, err = d.Receive(testContext(p.t), bytes.NewReader(sent), nil)
	must(p.t, err)
	return len(sent)
}

// restored is an open log made from a backup.
func restored(t *testing.T, dir string) *logAt {
	t.Helper()
	p := newLog(t)
	must(t, p.restore(dir))
	p.open()
	return p
}

func (p *logAt) restore(dir string) error {
	b, err := Open(dir)
	if err != nil {
		return err
	}
	r, err := eventlog.Restore(p.cfg.Dir)
	if err != nil {
		return err
	}
	if err := b.Restore(testContext(p.t), r, nil); err != nil {
		return err
	}
	return r.Witness(p.cfg.WitnessDir)
}

// whole verifies a backup.
func whole(t *testing.T, dir string) {
	t.Helper()
	b, err := Open(dir)
	must(t, err)
	findings, err := b.Verify(testContext(t), nil)
	must(t, err)
	if len(findings) > 0 {
		t.Fatalf("findings: %q", findings)
	}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
