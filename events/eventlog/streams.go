package eventlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
)

const (
	streamPrefix = "RECEIPTS_"

	// duplicateWindow is how long the server remembers the ids of entries. The publisher relies on
	// a third of it at most; after that it looks for its entry in the stream itself. The server
	// needs about 130 bytes for an id, and a partition stores a few thousand entries a second at
	// most, so that a minute costs it tens of megabytes at worst.
	duplicateWindow = time.Minute

	// maxEntryBytes bounds an entry with its headers. A NATS server with default settings lets so
	// much through (max_payload is 1 MiB).
	maxEntryBytes = 1 << 20

	metaPartitions = "receiptd.partitions"
	metaVersion    = "receiptd.log"
	logVersion     = "1"
)

// streamName is the stream of a partition.
func streamName(partition int) string { return streamPrefix + strconv.Itoa(partition) }

// streamConfig is the configuration of a partition's stream: the one place where it is decided.
func streamConfig(partition, partitions int, cfg *Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        streamName(partition),
		Description: "receiptd: events of partition " + strconv.Itoa(partition),
		Subjects:    []string{events.PartitionSubjects(partition)},

		// The log is the truth, whoever has read it: an entry does not leave because it was read.
		Retention: jetstream.LimitsPolicy,
		Storage:   jetstream.FileStorage,
		Replicas:  max(cfg.Replicas, 1),

		// There is no limit by default. When one is set and reached, producers are refused: an
		// entry that was acknowledged does not make room for one that was not.
		MaxMsgs:           -1,
		MaxMsgsPerSubject: -1,
		MaxBytes:          unlimited(cfg.MaxBytes),
		MaxAge:            0,
		Discard:           jetstream.DiscardNew,
		MaxMsgSize:        maxEntryBytes,
		MaxConsumers:      -1,

		Duplicates: cfg.hooks.duplicateWindow(),

		// A deleted entry is a gap, and readers refuse gaps. Purging the beginning stays possible:
		// archived entries leave by it, and readers can tell it from a gap. Neither flag could be
		// changed later.
		DenyDelete: true,
		DenyPurge:  false,

		// Batches are compressed already where that pays off.
		Compression: jetstream.NoCompression,
		// Single entries are read from any replica directly.
		AllowDirect: true,
		// Asynchronous persistence would acknowledge before writing.
		PersistMode: jetstream.DefaultPersistMode,

		// Off on purpose: everything that removes, rewrites or reorders entries after the fact.
		NoAck:             false,
		AllowRollup:       false,
		AllowMsgTTL:       false,
		AllowMsgCounter:   false,
		AllowMsgSchedules: false,

		Metadata: map[string]string{
			metaVersion:    logVersion,
			metaPartitions: strconv.Itoa(partitions),
		},
	}
}

func unlimited(limit int64) int64 {
	if limit <= 0 {
		return -1
	}
	return limit
}

// A rule says how one field of an existing stream must relate to that of streamConfig. Fields
// without a rule are for the operator to change: description, placement, compression, limits of age
// and count.
type rule struct {
	field string
	value func(*jetstream.StreamConfig) any
	// enough, if set, accepts another value than that of streamConfig.
	enough func(want, have *jetstream.StreamConfig) bool
}

var rules = []rule{
	{field: "subjects", value: func(c *jetstream.StreamConfig) any { return strings.Join(c.Subjects, " ") }},
	{field: "retention", value: func(c *jetstream.StreamConfig) any { return c.Retention }},
	{field: "storage", value: func(c *jetstream.StreamConfig) any { return c.Storage }},
	{field: "discard", value: func(c *jetstream.StreamConfig) any { return c.Discard }},
	{field: "max_msgs_per_subject", value: func(c *jetstream.StreamConfig) any { return c.MaxMsgsPerSubject }},
	{field: "no_ack", value: func(c *jetstream.StreamConfig) any { return c.NoAck }},
	{field: "sealed", value: func(c *jetstream.StreamConfig) any { return c.Sealed }},
	{field: "deny_delete", value: func(c *jetstream.StreamConfig) any { return c.DenyDelete }},
	{field: "allow_rollup_hdrs", value: func(c *jetstream.StreamConfig) any { return c.AllowRollup }},
	{field: "allow_msg_ttl", value: func(c *jetstream.StreamConfig) any { return c.AllowMsgTTL }},
	{field: "allow_msg_counter", value: func(c *jetstream.StreamConfig) any { return c.AllowMsgCounter }},
	{field: "allow_msg_schedules", value: func(c *jetstream.StreamConfig) any { return c.AllowMsgSchedules }},
	{field: "persist_mode", value: func(c *jetstream.StreamConfig) any { return c.PersistMode }},
	{field: "mirror", value: func(c *jetstream.StreamConfig) any { return c.Mirror != nil }},
	{field: "sources", value: func(c *jetstream.StreamConfig) any { return len(c.Sources) }},
	{field: "subject_transform", value: func(c *jetstream.StreamConfig) any { return c.SubjectTransform != nil }},
	{field: metaVersion, value: func(c *jetstream.StreamConfig) any { return c.Metadata[metaVersion] }},
	{
		field: "num_replicas", value: func(c *jetstream.StreamConfig) any { return c.Replicas },
		enough: func(want, have *jetstream.StreamConfig) bool { return have.Replicas >= want.Replicas },
	},
	{
		field: "max_msg_size", value: func(c *jetstream.StreamConfig) any { return c.MaxMsgSize },
		enough: func(want, have *jetstream.StreamConfig) bool {
			return have.MaxMsgSize == -1 || have.MaxMsgSize >= want.MaxMsgSize
		},
	},
	{
		field: "duplicate_window", value: func(c *jetstream.StreamConfig) any { return c.Duplicates },
		enough: func(want, have *jetstream.StreamConfig) bool { return have.Duplicates >= want.Duplicates },
	},
	{
		// Without a limit of our own, whatever the stream has is the operator's.
		field: "max_bytes", value: func(c *jetstream.StreamConfig) any { return c.MaxBytes },
		enough: func(want, _ *jetstream.StreamConfig) bool { return want.MaxBytes == -1 },
	},
}

// checkStream compares an existing stream with the configuration that it should have.
func checkStream(want, have *jetstream.StreamConfig) error {
	if w, h := want.Metadata[metaPartitions], have.Metadata[metaPartitions]; h != "" && !grownTo(h, w) {
		return fmt.Errorf("%w: it was created with %s, %s were asked for (stream %s)", ErrPartitions, h, w, have.Name)
	}
	for _, r := range rules {
		if r.value(want) == r.value(have) || r.enough != nil && r.enough(want, have) {
			continue
		}
		return &StreamConfigError{
			Stream: have.Name, Field: r.field,
			Want: fmt.Sprintf("%v", r.value(want)), Have: fmt.Sprintf("%v", r.value(have)),
		}
	}
	return nil
}

// grownTo reports whether a log that had so many partitions when a stream was made may have so many
// now.
func grownTo(had, has string) bool {
	a, err := strconv.Atoi(had)
	b, wrong := strconv.Atoi(has)
	if err != nil || wrong != nil || a < 1 {
		return had == has
	}
	for a < b {
		a *= 2
	}
	return a == b
}

// openStreams finds the streams of the log, or creates them if there are none. The stream of
// partition 0 is created last: once it is there the log is complete, and a stream that is missing
// after that was deleted.
func openStreams(ctx context.Context, js jetstream.JetStream, cfg *Config) ([]jetstream.Stream, error) {
	first, err := js.Stream(ctx, streamName(0))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return createStreams(ctx, js, cfg)
	case err != nil:
		return nil, fmt.Errorf("look up stream %s: %w", streamName(0), err)
	}
	if first.CachedInfo().Config.Metadata[metaRestoring] != "" {
		return nil, ErrRestoring
	}
	partitions, err := recordedPartitions(&first.CachedInfo().Config)
	if err != nil {
		return nil, err
	}
	if cfg.MinPartitions != nil && partitions < cfg.MinPartitions() {
		return nil, fmt.Errorf("a server that lags: the log has %d partitions, and not %d", cfg.MinPartitions(), partitions)
	}
	if to := first.CachedInfo().Config.Metadata[metaRepartition]; to != "" && to != strconv.Itoa(partitions) && !cfg.repartitioning {
		return nil, fmt.Errorf("%w: to %s", ErrRepartitioning, to)
	}
	streams := make([]jetstream.Stream, partitions)
	for p := range streams {
		if streams[p], err = js.Stream(ctx, streamName(p)); errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, &StreamConfigError{Stream: streamName(p), Field: "stream", Want: "present", Have: "missing"}
		} else if err != nil {
			return nil, fmt.Errorf("look up stream %s: %w", streamName(p), err)
		}
		want := streamConfig(p, partitions, cfg)
		if err := checkStream(&want, &streams[p].CachedInfo().Config); err != nil {
			return nil, err
		}
	}
	if have := first.CachedInfo().Config.Replicas; have > max(cfg.Replicas, 1) {
		cfg.Logger.Warn("the log has more replicas than were asked for, and keeps them; what is made beside it from here gets no more than were asked for: ask for as many everywhere",
			"replicas", have, "asked", max(cfg.Replicas, 1))
	}
	return streams, nil
}

// metadata is what the streams of a log say of themselves.
func metadata(streams []jetstream.Stream) []map[string]string {
	all := make([]map[string]string, len(streams))
	for p, s := range streams {
		all[p] = s.CachedInfo().Config.Metadata
	}
	return all
}

// askedFor returns an error if the log never had so many partitions; 0 asks for none. Whoever asked
// for what it was made with did not ask for less than it has since.
func askedFor(partitions int, forks []fork) error {
	created := forks[0].layouts[0].partitions
	for had := created; had <= len(forks); had *= 2 {
		if partitions == 0 || partitions == had {
			return nil
		}
	}
	return fmt.Errorf("%w: it was created with %d, %d were asked for", ErrPartitions, created, partitions)
}

func recordedPartitions(have *jetstream.StreamConfig) (int, error) {
	recorded := have.Metadata[metaPartitions]
	n, err := strconv.Atoi(recorded)
	if err != nil || n < 1 || n > events.MaxPartitions {
		return 0, &StreamConfigError{
			Stream: have.Name, Field: "metadata " + metaPartitions, Want: "the number of partitions", Have: strconv.Quote(recorded),
		}
	}
	return n, nil
}

func createStreams(ctx context.Context, js jetstream.JetStream, cfg *Config) ([]jetstream.Stream, error) {
	partitions := cfg.Partitions
	if partitions == 0 {
		partitions = runtime.NumCPU()
	}
	if _, err := js.Stream(ctx, "KV_"+RestoreClaim); err == nil {
		return nil, ErrRestoring
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("look up whether a log is being restored: %w", err)
	}
	streams := make([]jetstream.Stream, partitions)
	life := newLife()
	for p := range slices.Backward(streams) {
		want := streamConfig(p, partitions, cfg)
		want.Metadata[metaLife] = life
		stream, err := js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			// Left by an interrupted creation with other settings, made by somebody else, or just
			// now by another receiptd.
			if stream, err = js.Stream(ctx, want.Name); err == nil {
				if err := checkStream(&want, &stream.CachedInfo().Config); err != nil {
					return nil, err
				}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		if last := stream.CachedInfo().State.LastSeq; p != 0 && last != 0 {
			if _, err := js.Stream(ctx, streamName(0)); err == nil { // another receiptd was faster
				return openStreams(ctx, js, cfg)
			}
			return nil, &StreamConfigError{
				Stream: streamName(0), Field: "stream", Have: "missing",
				Want: fmt.Sprintf("present, as stream %s has %d entries", want.Name, last),
			}
		}
		streams[p] = stream
	}
	return streams, nil
}
