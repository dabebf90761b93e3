package eventlog_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// openError opens a log that cannot be opened.
func openError(t *testing.T, cfg eventlog.Config) error {
	t.Helper()
	cfg.Logger = natstest.Logger(t)
	l, err := eventlog.Open(testContext(t), cfg)
	if err == nil {
		natstest.CloseLog(t, l)
		t.Fatal("the log was opened")
	}
	return err
}

func TestLogIsThereAfterReopening(t *testing.T) {
	t.Parallel()
	for _, fsync := range []eventlog.Fsync{eventlog.FsyncAlways, eventlog.FsyncInterval} {
		t.Run(fsync.String(), func(t *testing.T) {
			ctx := testContext(t)
			cfg := eventlog.Config{Dir: t.TempDir(), Partitions: 3, Fsync: fsync}
			p := &producer{groups: 9}
			for range 3 {
				l := natstest.OpenLog(t, cfg)
				cfg.Partitions = 0 // whatever there is
				if l.Partitions() != 3 {
					t.Fatalf("the log has %d partitions", l.Partitions())
				}
				if err := p.submit(ctx, l, 100); err != nil {
					t.Fatal(err)
				}
				if err := p.tickets[len(p.tickets)-1].Wait(ctx); err != nil {
					t.Fatal(err)
				}
				check(t, ctx, l, []*producer{p})
				natstest.CloseLog(t, l)
			}
		})
	}
}

func TestNewLogHasAPartitionForEachCore(t *testing.T) {
	t.Parallel()
	if got := natstest.OpenLog(t, eventlog.Config{}).Partitions(); got != runtime.NumCPU() {
		t.Errorf("%d partitions on %d cores", got, runtime.NumCPU())
	}
}

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	t.Parallel()
	cfg := eventlog.Config{Dir: t.TempDir(), Partitions: 2}
	natstest.CloseLog(t, natstest.OpenLog(t, cfg))
	for _, partitions := range []int{1, 3} {
		cfg.Partitions = partitions
		err := openError(t, cfg)
		if !errors.Is(err, eventlog.ErrPartitions) || !strings.Contains(err.Error(), "created with 2, ") {
			t.Errorf("%d partitions: %v", partitions, err)
		}
	}
	cfg.Partitions = 2
	natstest.OpenLog(t, cfg)
}

func TestEmbeddedLogIsOpenedOnce(t *testing.T) {
	t.Parallel()
	cfg := eventlog.Config{Dir: t.TempDir()}
	natstest.OpenLog(t, cfg)
	if err := openError(t, cfg); !errors.Is(err, eventlog.ErrInUse) {
		t.Error(err)
	}
}

func TestStreamsOfAnotherConfigurationAreRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	tests := []struct {
		field  string
		change func(*jetstream.StreamConfig)
		ok     bool
	}{
		{field: "subjects", change: func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more") }},
		{field: "retention", change: func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }},
		{field: "storage", change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }},
		{field: "discard", change: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld }},
		{field: "max_msgs_per_subject", change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 }},
		{field: "no_ack", change: func(c *jetstream.StreamConfig) { c.NoAck = true }},
		{field: "sealed", change: func(c *jetstream.StreamConfig) { c.Sealed = true }},
		{field: "deny_delete", change: func(c *jetstream.StreamConfig) { c.DenyDelete = false }},
		{field: "allow_rollup_hdrs", change: func(c *jetstream.StreamConfig) { c.AllowRollup = true }},
		{field: "allow_msg_ttl", change: func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true }},
		{field: "allow_msg_schedules", change: func(c *jetstream.StreamConfig) {
			c.AllowMsgSchedules, c.AllowRollup = true, true
			c.Discard = jetstream.DiscardOld
		}},
		{field: "persist_mode", change: func(c *jetstream.StreamConfig) { c.PersistMode = jetstream.AsyncPersistMode }},
		{field: "max_msg_size", change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }},
		{field: "duplicate_window", change: func(c *jetstream.StreamConfig) { c.Duplicates = time.Second }},
		{field: "subject_transform", change: func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: ">", Destination: "moved.>"}
		}},
		{field: "receiptd.log", change: func(c *jetstream.StreamConfig) { c.Metadata["receiptd.log"] = "2" }},
		{field: "metadata receiptd.partitions", change: func(c *jetstream.StreamConfig) { delete(c.Metadata, "receiptd.partitions") }},

		{field: "description", ok: true, change: func(c *jetstream.StreamConfig) { c.Description = "ours" }},
		{field: "max_age", ok: true, change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		{field: "max_bytes", ok: true, change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 }},
		{field: "compression", ok: true, change: func(c *jetstream.StreamConfig) { c.Compression = jetstream.S2Compression }},
		{field: "larger max_msg_size", ok: true, change: func(c *jetstream.StreamConfig) { c.MaxMsgSize = -1 }},
		{field: "longer duplicate_window", ok: true, change: func(c *jetstream.StreamConfig) { c.Duplicates = time.Hour }},
		{field: "more metadata", ok: true, change: func(c *jetstream.StreamConfig) { c.Metadata["team"] = "chat" }},
	}
	s := natstest.StartServer(t)
	js := s.JetStream()
	natstest.CloseLog(t, natstest.OpenLog(t, eventlog.Config{URL: s.URL(), Partitions: 1}))
	stream, err := js.Stream(ctx, "RECEIPTS_0")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.field, func(t *testing.T) {
			cfg := stream.CachedInfo().Config
			cfg.Metadata = map[string]string{"receiptd.log": "1", "receiptd.partitions": "1"}
			test.change(&cfg)
			if err := js.DeleteStream(ctx, "RECEIPTS_0"); err != nil {
				t.Fatal(err)
			}
			sealed := cfg.Sealed
			cfg.Sealed = false // only an existing stream can be sealed
			eventually(t, "the old store is gone", func() bool {
				_, err := js.CreateStream(ctx, cfg)
				return err == nil
			})
			if cfg.Sealed = sealed; sealed {
				if _, err := js.UpdateStream(ctx, cfg); err != nil {
					t.Fatal(err)
				}
			}
			before, err := js.Stream(ctx, "RECEIPTS_0")
			if err != nil {
				t.Fatal(err)
			}
			if test.ok {
				natstest.CloseLog(t, natstest.OpenLog(t, eventlog.Config{URL: s.URL()}))
			} else {
				err := openError(t, eventlog.Config{URL: s.URL()})
				var differs *eventlog.StreamConfigError
				if !errors.Is(err, eventlog.ErrStreamConfig) || !errors.As(err, &differs) {
					t.Fatal(err)
				}
				if differs.Stream != "RECEIPTS_0" || differs.Want == differs.Have {
					t.Errorf("%+v", differs)
				}
				if differs.Field != test.field && test.field != "allow_msg_schedules" {
					t.Errorf("it names %s: %v", differs.Field, err)
				}
			}
			after, err := js.Stream(ctx, "RECEIPTS_0")
			if err != nil {
				t.Fatal(err)
			}
			if !before.CachedInfo().Created.Equal(after.CachedInfo().Created) {
				t.Error("the stream was made again")
			}
		})
	}
}

func TestMissingStreamIsRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := natstest.StartServer(t)
	js := s.JetStream()
	l := natstest.OpenLog(t, eventlog.Config{URL: s.URL(), Partitions: 3})
	if _, err := l.Append(ctx, receipts(500, 0)); err != nil {
		t.Fatal(err)
	}
	natstest.CloseLog(t, l)
	for _, name := range []string{"RECEIPTS_1", "RECEIPTS_0"} {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(ctx, name); err != nil {
			t.Fatal(err)
		}
		err = openError(t, eventlog.Config{URL: s.URL(), Partitions: 3})
		if !errors.Is(err, eventlog.ErrStreamConfig) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "missing") {
			t.Errorf("without %s: %v", name, err)
		}
		if _, err := js.CreateStream(ctx, stream.CachedInfo().Config); err != nil {
			t.Fatal(err)
		}
	}
}

// A first start that was interrupted is taken up where it ended.
func TestInterruptedCreationGoesOn(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	s := natstest.StartServer(t)
	js := s.JetStream()
	natstest.CloseLog(t, natstest.OpenLog(t, eventlog.Config{URL: s.URL(), Partitions: 3}))
	for _, name := range []string{"RECEIPTS_0", "RECEIPTS_1"} {
		if err := js.DeleteStream(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := openError(t, eventlog.Config{URL: s.URL(), Partitions: 4}); !errors.Is(err, eventlog.ErrPartitions) {
		t.Errorf("with another number: %v", err)
	}
	if err := js.DeleteStream(ctx, "RECEIPTS_3"); err != nil { // what that began
		t.Fatal(err)
	}
	if got := natstest.OpenLog(t, eventlog.Config{URL: s.URL(), Partitions: 3}).Partitions(); got != 3 {
		t.Errorf("%d partitions", got)
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	small := natstest.StartServer(t, func(o *server.Options) { o.MaxPayload = 64 << 10 })
	plain := natstest.StartServer(t, func(o *server.Options) { o.JetStream = false })
	locked := natstest.StartServer(t, func(o *server.Options) { o.Username, o.Password = "ann", "secret" })
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	tests := []struct {
		name string
		cfg  eventlog.Config
		want string
	}{
		{"nothing set", eventlog.Config{}, "exactly one of Dir, URL and Peers"},
		{"both set", eventlog.Config{Dir: "d", URL: "u"}, "exactly one of Dir, URL and Peers"},
		{"partitions", eventlog.Config{Dir: "d", Partitions: -1}, "Partitions must be"},
		{"replicas", eventlog.Config{Dir: "d", Replicas: 3}, "Replicas needs a cluster"},
		{"ingress outside", eventlog.Config{URL: "u", Ingress: eventlog.Ingress{Listen: ":0"}}, "Ingress is for the embedded server"},
		{"not a directory", eventlog.Config{Dir: file}, "create the log's directory"},
		{"below a file", eventlog.Config{Dir: filepath.Join(file, "log")}, "not a directory"},
		{"nobody there", eventlog.Config{URL: "nats://127.0.0.1:1"}, "connect to NATS"},
		{"wrong password", eventlog.Config{URL: locked.URL()}, "Authorization Violation"},
		{"no JetStream", eventlog.Config{URL: plain.URL()}, "jetstream not enabled"},
		{"small max_payload", eventlog.Config{URL: small.URL()}, "max_payload is 65536, must be at least 1048576"},
		{"ingress without password", eventlog.Config{Dir: t.TempDir(), Ingress: eventlog.Ingress{Listen: "127.0.0.1:0"}}, "password is required"},
		{"ingress with long password", eventlog.Config{Dir: t.TempDir(), Ingress: eventlog.Ingress{Listen: "127.0.0.1:0", Password: strings.Repeat("x", 73)}}, "72 bytes"},
		{"ingress without port", eventlog.Config{Dir: t.TempDir(), Ingress: eventlog.Ingress{Listen: "127.0.0.1", Password: "x"}}, "missing port"},
		{"ingress address in use", eventlog.Config{Dir: t.TempDir(), Ingress: eventlog.Ingress{Listen: busy.Addr().String(), Password: "let me in"}}, "address already in use"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := openError(t, test.cfg); !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v; want %q", err, test.want)
			}
		})
	}
}

func TestURLWithCredentials(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, func(o *server.Options) { o.Username, o.Password = "ann", "secret" })
	l := natstest.OpenLog(t, eventlog.Config{URL: "nats://ann:secret@" + s.Addr()})
	if _, err := l.Append(testContext(t), receipts(1, 0)); err != nil {
		t.Error(err)
	}
}

func TestFsyncText(t *testing.T) {
	for _, f := range []eventlog.Fsync{eventlog.FsyncAlways, eventlog.FsyncInterval} {
		text, err := f.MarshalText()
		var back eventlog.Fsync
		if err != nil || back.UnmarshalText(text) != nil || back != f {
			t.Errorf("%v becomes %q, %v", f, text, err)
		}
	}
	var f eventlog.Fsync
	if err := f.UnmarshalText([]byte("never")); err == nil {
		t.Error("never was accepted")
	}
}

// The natural guess for Dir is the server's data directory, or one in it. A second, empty log in
// there would take events that nobody reads.
func TestDataDirectoryOfAServerIsNoLog(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	natstest.CloseLog(t, natstest.OpenLog(t, eventlog.Config{Dir: filepath.Join(data, "log")}))
	locked := t.TempDir() // a server with an outside cluster
	if err := os.WriteFile(filepath.Join(locked, "receiptd.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(locked, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for dir, log := range map[string]string{
		data:                            filepath.Join(data, "log"),
		locked:                          filepath.Join(locked, "log"),
		state:                           filepath.Join(locked, "log"),
		filepath.Join(locked, "events"): filepath.Join(locked, "log"),
		filepath.Join(state, "events"):  filepath.Join(locked, "log"),
	} {
		before, _ := os.ReadDir(dir)
		if err := openError(t, eventlog.Config{Dir: dir}); !errors.Is(err, eventlog.ErrDataDir) || !strings.Contains(err.Error(), log+",") {
			t.Errorf("%s: %v", dir, err)
		}
		if after, _ := os.ReadDir(dir); len(after) != len(before) {
			t.Errorf("%s: %v became %v", dir, before, after)
		}
	}
	natstest.OpenLog(t, eventlog.Config{Dir: filepath.Join(data, "log")})
	natstest.OpenLog(t, eventlog.Config{Dir: filepath.Join(locked, "log")})
}

// A producer's user cannot open a log. What the server does not permit it does not answer.
func TestProducerCannotOpenTheLog(t *testing.T) {
	t.Parallel()
	_, url := openIngress(t, 1)
	url = strings.Replace(url, "nats://", "nats://ingress:let%20me%20in@", 1)
	began := time.Now()
	err := openError(t, eventlog.Config{URL: url})
	if !errors.Is(err, eventlog.ErrDenied) || !errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Minute { // the context lasts three
		t.Errorf("it took %v", took)
	}
}
