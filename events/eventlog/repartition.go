package eventlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
)

// metaRepartition is, in the stream of partition 0, how many partitions the log is about to have.
const metaRepartition = "receiptd.repartition"

// ErrNotAlone: a log in an outside cluster, or in one of several nodes, is not repartitioned.
var ErrNotAlone = errors.New("eventlog: only the log of a server that is alone can be repartitioned; " +
	"back up the cluster, restore the backup, repartition that, and let it move into a cluster again")

// ErrEntriesAfterMark: a partition has entries after the one by which it was split.
var ErrEntriesAfterMark = errors.New("eventlog: a partition has taken events after the entry that splits it, so that an earlier version must have run meanwhile; restore a backup")

// Repartitioned is what [Repartition] did.
type Repartitioned struct {
	// From and To are how many partitions the log had and has.
	From, To int
	// Marks are the entries after which it has so many, by the partitions that there were.
	Marks []uint64
}

// Repartition doubles the number of partitions of an embedded log that is not open. Each partition
// gets an entry that says so (log.repartitioned), and those that are new fork from it there; the
// log is as before until all of that is done. A repartition that was cut off is finished by the
// next call, and nothing else opens the log before: to is how many there are to be, and 0 finishes
// one that was begun. Events that were acknowledged are where they were, and the log is the same:
// positions and cursors stay good.
func Repartition(ctx context.Context, cfg Config, to int) (r Repartitioned, err error) {
	if cfg.Dir == "" {
		return r, ErrNotAlone
	}
	cfg.repartitioning, cfg.Ingress, cfg.Partitions = true, Ingress{}, 0
	l, err := Open(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.Close(context.WithoutCancel(ctx))) }()
	js, err := jetstream.New(l.read.nc)
	if err != nil {
		return r, fmt.Errorf("eventlog: repartition: %w", err)
	}
	s := repartition{log: l, js: js}
	r.From = l.Partitions()
	if r.To, err = s.target(to); err != nil {
		return r, err
	}
	for p := range r.From {
		mark, err := s.mark(ctx, p, r.To)
		if err != nil {
			return r, fmt.Errorf("eventlog: repartition: partition %d: %w", p, err)
		}
		r.Marks = append(r.Marks, mark)
		cfg.hooks.stepped("marked")
	}
	for p, mark := range r.Marks {
		if err := s.fork(ctx, p, r.From+p, mark, r.To); err != nil {
			return r, fmt.Errorf("eventlog: repartition: partition %d: %w", r.From+p, err)
		}
		cfg.hooks.stepped("forked")
	}
	err = s.note(ctx, func(meta map[string]string) {
		meta[metaPartitions] = strconv.Itoa(r.To)
		delete(meta, metaRepartition)
	})
	cfg.hooks.stepped("done")
	return r, err
}

func (h *hooks) stepped(step string) {
	if h.step != nil {
		h.step(step)
	}
}

// repartition is one under way.
type repartition struct {
	log *Log
	js  jetstream.JetStream
}

// target says how many partitions there are to be, and notes it: from then on nothing else opens
// the log.
func (s *repartition) target(to int) (int, error) {
	from := s.log.Partitions()
	begun := s.log.streams[0].CachedInfo().Config.Metadata[metaRepartition]
	if to == 0 && begun == "" {
		return 0, errors.New("eventlog: no repartition was begun")
	}
	if begun != "" {
		to = 2 * from
	}
	if to != 2*from || to > events.MaxPartitions {
		return 0, fmt.Errorf("%w: it has %d, and can only be doubled, up to %d", ErrPartitions, from, events.MaxPartitions)
	}
	if begun != "" && begun != strconv.Itoa(to) {
		return 0, &StreamConfigError{Stream: streamName(0), Field: "metadata " + metaRepartition, Want: strconv.Itoa(to), Have: strconv.Quote(begun)}
	}
	err := s.note(context.Background(), func(meta map[string]string) { meta[metaRepartition] = strconv.Itoa(to) })
	s.log.cfg.hooks.stepped("announced")
	return to, err
}

// note changes the metadata of the stream of partition 0, in one step.
func (s *repartition) note(ctx context.Context, change func(map[string]string)) error {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, streamName(0))
	if err == nil {
		cfg := stream.CachedInfo().Config
		cfg.Metadata = maps.Clone(cfg.Metadata)
		change(cfg.Metadata)
		_, err = s.js.UpdateStream(ctx, cfg)
	}
	if err != nil {
		return fmt.Errorf("eventlog: repartition: note in stream %s: %w", streamName(0), err)
	}
	return nil
}

// mark appends the entry by which a partition is split, if that is not there yet, and returns its
// sequence.
func (s *repartition) mark(ctx context.Context, partition, to int) (uint64, error) {
	_, last, err := s.log.Bounds(ctx, partition)
	if err != nil {
		return 0, err
	}
	child, err := s.js.Stream(ctx, streamName(partition+to/2))
	switch {
	case err == nil: // so the mark is there
		at, err := strconv.ParseUint(child.CachedInfo().Config.Metadata[metaFork], 10, 64)
		if err == nil && at != last {
			err = ErrEntriesAfterMark
		}
		return at, err
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, err
	}
	if is, err := s.isMark(ctx, partition, last, to); is || err != nil {
		return last, err
	}
	// A version that does not know the mark ends at the level before it.
	for _, e := range []events.Event{
		{Kind: events.RulesLevel, App: events.LevelApp, Revision: markLevel},
		{Kind: events.LogRepartitioned, App: events.LevelApp, Revision: uint64(to)},
	} {
		t, err := s.log.SubmitTo(ctx, partition, []events.Event{e})
		if err == nil {
			err = t.Wait(ctx)
		}
		if err != nil {
			return 0, err
		}
		last = t.Locate(0).Sequence
		s.log.cfg.hooks.stepped("appended")
	}
	return last, nil
}

// markLevel is the level of the rules that knows a mark: see docs/rules.md.
const markLevel = 2

// isMark reports whether an entry says that the log has so many partitions from there on.
func (s *repartition) isMark(ctx context.Context, partition int, sequence uint64, to int) (bool, error) {
	if sequence == 0 {
		return false, nil
	}
	e, err := s.log.EntryAt(ctx, partition, sequence)
	if errors.Is(err, ErrNoEntry) { // all of it has left the log
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var b events.Batch
	if events.DecodeEntry(e.Subject, e.Data, e.MsgID, e.Partitions, &b) != nil {
		return false, nil
	}
	i := slices.Index(b.Kinds, events.LogRepartitioned)
	return i >= 0 && b.AttributesOf(i).Revision == uint64(to), nil
}

// fork makes the stream of a partition that forks from another one after its mark, and puts a first
// entry into it: the mark again, which says nothing new.
func (s *repartition) fork(ctx context.Context, parent, partition int, mark uint64, to int) error {
	cfg := s.log.streams[parent].CachedInfo().Config // with what the operator has changed
	want := streamConfig(partition, to, &s.log.cfg)
	cfg.Name, cfg.Description, cfg.Subjects, cfg.FirstSeq = want.Name, want.Description, want.Subjects, mark+1
	cfg.Metadata = want.Metadata
	cfg.Metadata[metaParent], cfg.Metadata[metaFork] = strconv.Itoa(parent), strconv.FormatUint(mark, 10)
	stream, err := s.js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = s.js.Stream(ctx, cfg.Name)
	}
	if err != nil {
		return err
	}
	have := stream.CachedInfo()
	for _, field := range []string{metaParent, metaFork} {
		if have.Config.Metadata[field] != cfg.Metadata[field] {
			return &StreamConfigError{Stream: cfg.Name, Field: "metadata " + field, Want: cfg.Metadata[field], Have: strconv.Quote(have.Config.Metadata[field])}
		}
	}
	if have.State.Msgs > 0 {
		return nil
	}
	s.log.cfg.hooks.stepped("made")
	b := new(events.Builder)
	b.Add(&events.Event{Kind: events.LogRepartitioned, App: events.LevelApp, Revision: uint64(to)})
	m := nats.NewMsg(events.BatchSubject(partition))
	m.Data = b.Encode(nil)
	_, err = s.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequence(mark))
	return err
}
