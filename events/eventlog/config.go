package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
)

// defaultMinFree is the disk space that an embedded log leaves free unless [Config.MinFree] says
// otherwise.
const defaultMinFree = 64 << 20

// NoMinFree is the [Config.MinFree] of a log that may use its disk to the last byte. The embedded
// server takes nothing more, until it is started again, once it has met the end of the disk.
const NoMinFree = -1

// Config says where the log is and how it is kept. Exactly one of Dir, URL and Peers is set; the
// zero value of every other field is a sensible default.
type Config struct {
	// Dir is the directory of the embedded server's store. In the data directory of a receiptd that
	// is the one named "log"; the data directory itself and all else in it are refused with
	// [ErrDataDir].
	Dir string
	// WitnessDir is where the witness of an embedded log is kept: a record of what the log holds,
	// by which a log that lost entries is found out. It is away from Dir, at best on another disk.
	// Empty means beside Dir: its name with ".witness".
	WitnessDir string
	// InspectBytes bounds how much of each partition's files is read before the embedded server
	// starts, from the end; 0 = all. It does not bound what the server itself reads then, as it
	// does with everything after a crash.
	InspectBytes int64
	// Weight is the share of an app in the queues beside those of others, at least 1; nil = 1 for
	// each.
	Weight func(app string) int
	// URL is an outside NATS server or cluster with JetStream: one or more nats:// URLs, separated
	// by commas, which may contain user and password. The user needs receipts.>, $JS.API.> and
	// _INBOX.>; one that has not, such as a producer's, is refused with [ErrDenied]. When that
	// server syncs is its own setting.
	URL string
	// Credentials is a .creds file for URL, if it needs one.
	Credentials string

	// Dialer reaches URL in another way than by TCP; nil = by TCP.
	Dialer nats.CustomDialer

	// Partitions is the number of partitions of a new log; 0 means the number of cores. For a log
	// that exists it is 0, or the number that the log was created with or has had since.
	Partitions int
	// Replicas is the number of replicas of each stream in an outside cluster; 0 means 1.
	Replicas int
	// Peers has the NATS server in this process form a cluster with others; nil = it does not. It
	// needs Node.
	Peers *Peers

	// Node is the name of this process among several that append to a log in an outside cluster: a
	// single token of a subject. Each then publishes on a subject of its own, so that an entry in
	// doubt is found whatever the others append. Empty: there is one process.
	Node string
	// Epoch tells the entries of this opening of the log from those of any other, with Node: see
	// [RepartitionShared]. It is a token of a subject, and never used again; empty = a random one.
	Epoch string
	// MaxBytes bounds each partition on the disk: beyond it producers get [ErrLogFull]. 0 sets no
	// limit on a new log, and accepts whatever limit a log that exists has.
	MaxBytes int64

	// Fsync says when the embedded server syncs what it stores.
	Fsync Fsync
	// MinFree is the disk space in bytes that the embedded server leaves free: producers get
	// [ErrLogFull] before it is used. 0 means 64 MiB, [NoMinFree] none.
	MinFree int64
	// Ingress opens the embedded server to outside producers.
	Ingress Ingress

	// BeforeOpen, if set, is called when the server is there, before the log is looked up or made:
	// it may restore one, or wait until another process has. Its error ends the opening.
	BeforeOpen func(ctx context.Context, nc *nats.Conn) error
	// OnClose, if set, is called when the log is closing, while there still is a connection, if it
	// is known of all that this process has appended what became of it: nothing of it comes later.
	OnClose func(ctx context.Context, nc *nats.Conn)
	// MinPartitions is how many partitions the log is known to have, if it is: a server that says
	// that it has fewer lags, and is asked again.
	MinPartitions func() int

	// Logger is told what happens outside of calls; [slog.Default] if nil.
	Logger *slog.Logger

	// repartitioning opens a log whose repartition is not finished.
	repartitioning bool

	hooks hooks
}

func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, problem string) {
		if !ok {
			errs = append(errs, errors.New(problem))
		}
	}
	given := 0
	for _, set := range []bool{c.Dir != "", c.URL != "", c.Peers != nil} {
		if set {
			given++
		}
	}
	check(given == 1, "exactly one of Dir, URL and Peers must be set")
	check(c.Peers == nil || c.Node != "", "Peers needs Node")
	check(c.Partitions >= 0 && c.Partitions <= events.MaxPartitions, fmt.Sprintf("Partitions must be in 0..%d", events.MaxPartitions))
	check(c.Replicas >= 0 && c.Replicas <= 5, "Replicas must be in 1..5")
	check(c.Replicas <= 1 || c.Dir == "", "Replicas needs a cluster")
	check(c.Node == "" || c.Dir == "" && !strings.ContainsAny(c.Node, ".*> \t\r\n"), "Node is a token, and for a cluster")
	check(!strings.ContainsAny(c.Epoch, ".*> \t\r\n"), "Epoch is a token")
	check(c.Ingress.Listen == "" || c.Dir != "", "Ingress is for the embedded server")
	check(c.Credentials == "" || c.URL != "", "Credentials is for an outside server")
	check(c.Dialer == nil || c.URL != "", "Dialer is for an outside server")
	check(c.MaxBytes >= 0, "MaxBytes must not be negative")
	check(c.MinFree >= 0 || c.MinFree == NoMinFree, "MinFree must not be negative")
	if len(errs) > 0 {
		return fmt.Errorf("eventlog: configuration: %w", errors.Join(errs...))
	}
	return nil
}

// Fsync says when the embedded server syncs entries to the disk.
type Fsync int

const (
	// FsyncAlways: before the acknowledgement. An acknowledged event survives power loss.
	FsyncAlways Fsync = iota
	// FsyncInterval: once a second. An acknowledged event survives kill -9, but a power loss takes
	// up to the last second of them.
	FsyncInterval
)

// String returns "always" or "interval".
func (f Fsync) String() string {
	if f == FsyncInterval {
		return "interval"
	}
	return "always"
}

// MarshalText writes what String returns.
func (f Fsync) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads "always" or "interval".
func (f *Fsync) UnmarshalText(text []byte) error {
	switch string(text) {
	case "always":
		*f = FsyncAlways
	case "interval":
		*f = FsyncInterval
	default:
		return fmt.Errorf("not always or interval: %q", text)
	}
	return nil
}

func (c *Config) witnessDir() string {
	if c.WitnessDir != "" {
		return c.WitnessDir
	}
	return filepath.Clean(c.Dir) + ".witness"
}

// hooks are for tests.
type hooks struct {
	dedup time.Duration // the duplicate window of new streams
	trust time.Duration // for how long a retry relies on it; negative: not at all
	stale time.Duration // for how long answers of a replicated log are not believed
	// state changes what a server says of a partition, as one that lags would.
	state    func(*jetstream.StreamState)
	ackAfter time.Duration // how long a try waits for its acknowledgement

	diskFree func(dir string) (int64, error)
	// step is called after each step of a repartition.
	step func(name string)
	// starting is called when the embedded server is about to start.
	starting func()
}

func (h *hooks) duplicateWindow() time.Duration {
	if h.dedup != 0 {
		return h.dedup
	}
	return duplicateWindow
}

func (h *hooks) staleAnswers() time.Duration {
	if h.stale != 0 {
		return h.stale
	}
	return staleMax
}

func (h *hooks) trustWindow() time.Duration {
	if h.trust != 0 {
		return h.trust
	}
	return duplicateWindow / 3
}

func (h *hooks) ackTimeout() time.Duration {
	if h.ackAfter != 0 {
		return h.ackAfter
	}
	return ackTimeout
}
