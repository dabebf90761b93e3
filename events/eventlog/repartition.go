package eventlog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/leader"
)

// metaRepartition is, in the stream of partition 0, how many partitions the log is about to have.
const metaRepartition = "receiptd.repartition"

// ErrNotAlone: a log in an outside NATS is repartitioned by [RepartitionShared] alone.
var ErrNotAlone = errors.New("eventlog: a log in an outside NATS can be repartitioned by nodes that have names only: " +
	"start each process on it with a --node of its own")

// ErrEntriesAfterFork: a partition has entries after the one by which it was split.
var ErrEntriesAfterFork = errors.New("eventlog: a partition has taken events after the entry that splits it, so that an earlier version must have run meanwhile; restore a backup")

// Repartitioned is what [Repartition] did.
type Repartitioned struct {
	// From and To are how many partitions the log had and has.
	From, To int
	// ForkPoints are the entries after which it has so many, by the partitions that there were.
	ForkPoints []uint64
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
	s := repartition{nc: l.read.nc, js: js, cfg: &l.cfg, streams: l.streams}
	return s.run(ctx, to)
}

// RepartitionShared is [Repartition] for a log that several processes append to, which have a
// connection to it and do not have it open: cfg says how it is kept. The publishers given are those
// that may still have it open, with the number of partitions that there was. They are fenced: each
// finds that somebody else has published on its subject, stores nothing any more, and its log fails
// with [ErrFenced]. Several processes may call it at the same time, and one of any time ago goes on
// without harm: each step is taken on the condition that nothing came in between.
func RepartitionShared(ctx context.Context, nc *nats.Conn, cfg Config, to int, fence []PublisherID) (r Repartitioned, err error) {
	cfg.repartitioning, cfg.Partitions = true, 0
	js, err := jetstream.New(nc)
	if err != nil {
		return r, fmt.Errorf("eventlog: repartition: %w", err)
	}
	s := repartition{nc: nc, js: js, cfg: &cfg, fence: fence}
	err = answered(ctx, func(ctx context.Context) error {
		s.streams, err = openStreams(ctx, js, &cfg)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("eventlog: repartition: %w", err)
	}
	if len(s.streams) == to { // it was finished
		return Repartitioned{From: to / 2, To: to}, nil
	}
	return s.run(ctx, to)
}

// Publisher is what appends to a log beside others: a process, which says by an epoch of its own
// when it opened the log.
type PublisherID struct {
	Node  string `json:"node"`
	Epoch string `json:"epoch"`
}

func (h *hooks) stepped(step string) {
	if h.step != nil {
		h.step(step)
	}
}

// repartition is one under way.
type repartition struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	cfg     *Config
	streams []jetstream.Stream // those that there were
	fence   []PublisherID
}

func (s *repartition) run(ctx context.Context, to int) (r Repartitioned, err error) {
	r.From = len(s.streams)
	if r.To, err = s.target(ctx, to); err != nil {
		return r, err
	}
	for p := range r.From {
		fork, err := s.forkPoint(ctx, p, r.To)
		if err != nil {
			return r, fmt.Errorf("eventlog: repartition: partition %d: %w", p, err)
		}
		r.ForkPoints = append(r.ForkPoints, fork)
		s.cfg.hooks.stepped("ended")
	}
	for p, fork := range r.ForkPoints {
		err := answered(ctx, func(ctx context.Context) error { return s.fork(ctx, p, r.From+p, fork, r.To) })
		if err != nil {
			return r, fmt.Errorf("eventlog: repartition: partition %d: %w", r.From+p, err)
		}
		s.cfg.hooks.stepped("forked")
	}
	err = s.note(ctx, func(meta map[string]string) {
		if has, _ := strconv.Atoi(meta[metaPartitions]); has < r.To {
			meta[metaPartitions] = strconv.Itoa(r.To)
		}
		delete(meta, metaRepartition)
	})
	s.cfg.hooks.stepped("done")
	return r, err
}

// target says how many partitions there are to be, and notes it: from then on nothing else opens
// the log.
func (s *repartition) target(ctx context.Context, to int) (int, error) {
	from := len(s.streams)
	begun := s.streams[0].CachedInfo().Config.Metadata[metaRepartition]
	if begun == strconv.Itoa(from) { // finished by one who did not know it
		begun = ""
	}
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
	err := s.note(ctx, func(meta map[string]string) { meta[metaRepartition] = strconv.Itoa(to) })
	s.cfg.hooks.stepped("announced")
	return to, err
}

// note changes the metadata of the stream of partition 0, in one step.
func (s *repartition) note(ctx context.Context, change func(map[string]string)) error {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	err := answered(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, streamName(0))
		if err != nil {
			return err
		}
		cfg := stream.CachedInfo().Config
		cfg.Metadata = maps.Clone(cfg.Metadata)
		change(cfg.Metadata)
		_, err = s.js.UpdateStream(ctx, cfg)
		return err
	})
	if err != nil {
		return fmt.Errorf("eventlog: repartition: note in stream %s: %w", streamName(0), err)
	}
	return nil
}

// forkPoint fences the publishers, appends the entry by which a partition is split, if that is not
// there yet, and returns its sequence. Each entry is stored right behind the one before or not at
// all, so that nobody is between the fences and the fork point, and nobody comes behind it.
func (s *repartition) forkPoint(ctx context.Context, partition, to int) (last uint64, err error) {
	err = answered(ctx, func(ctx context.Context) error {
		for {
			end, there, err := s.end(ctx, partition, to)
			if last = end; err != nil || there {
				return err
			}
			if last, err = s.append(ctx, s.beforeFork(partition, to), end); err == nil {
				return nil
			}
			// Somebody else, who may be behind the fences by now, has appended, or it is not known
			// whether the last entry was stored: all of them once more.
			if e := pause(ctx); e != nil {
				return fmt.Errorf("%w: %w", e, err)
			}
		}
	})
	return last, err
}

// append stores entries behind the last one, and behind each other.
func (s *repartition) append(ctx context.Context, entries []*nats.Msg, last uint64) (uint64, error) {
	for _, m := range entries {
		ack, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequence(last))
		if err != nil {
			return 0, err
		}
		last = ack.Sequence
		s.cfg.hooks.stepped("appended")
	}
	return last, nil
}

// end is where a partition ends, and whether its fork point is there: the fork that it leads to may
// be, too, and then it is the last entry.
func (s *repartition) end(ctx context.Context, partition, to int) (last uint64, there bool, err error) {
	stream, err := s.js.Stream(ctx, streamName(partition))
	if err != nil {
		return 0, false, err
	}
	last = stream.CachedInfo().State.LastSeq
	child, err := s.js.Stream(ctx, streamName(partition+to/2))
	switch {
	case err == nil: // so the fork point is there
		at, err := strconv.ParseUint(child.CachedInfo().Config.Metadata[metaFork], 10, 64)
		if err == nil && last > at {
			err = ErrEntriesAfterFork
		}
		return at, true, err
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, false, err
	}
	there, err = s.isForkPoint(ctx, partition, last, to)
	return last, there, err
}

// beforeFork are the entries that end a partition that there was: one on the subject of each
// publisher that is fenced, the level of the rules at which a version that does not know the fork
// point ends, and the fork point.
func (s *repartition) beforeFork(partition, to int) (entries []*nats.Msg) {
	level := events.Event{Kind: events.RulesLevel, App: events.LevelApp, Revision: RepartitionLevel}
	for _, p := range s.fence {
		entries = append(entries, entryOf(events.NodeBatchSubject(partition, p.Node, p.Epoch), &level))
	}
	subject := events.BatchSubject(partition)
	return append(entries, entryOf(subject, &level), entryOf(subject, repartitionedTo(to)))
}

// repartitionedTo is the event that says that the log has so many partitions from there on.
func repartitionedTo(to int) *events.Event {
	return &events.Event{Kind: events.LogRepartitioned, App: events.LevelApp, Revision: uint64(to)}
}

func entryOf(subject string, e *events.Event) *nats.Msg {
	b := new(events.Builder)
	b.Add(e)
	m := nats.NewMsg(subject)
	m.Data = b.Encode(nil)
	return m
}

// How long requests wait for their answers, at first and at most: while a stream changes its
// leader, or a connection its server, nobody answers, and what was asked then never is.
const (
	answerFirst = time.Second
	answerMost  = 16 * time.Second
)

// answered takes a step, which may be taken any number of times, until its requests are answered in
// time, or ctx ends. It returns the error of the step otherwise.
func answered(ctx context.Context, step func(context.Context) error) error {
	for within := answerFirst; ; within = min(2*within, answerMost) {
		try, cancel := context.WithTimeout(ctx, within)
		err := step(try)
		late := errors.Is(err, context.DeadlineExceeded) && try.Err() != nil && ctx.Err() == nil
		cancel()
		if !late {
			return err
		}
	}
}

// pause waits before something is tried again.
func pause(ctx context.Context) error {
	select {
	case <-time.After(retryFirst):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RepartitionLevel is the level of the rules that knows one: see docs/rules.md.
const RepartitionLevel = 2

// isForkPoint reports whether an entry says that the log has so many partitions from there on.
func (s *repartition) isForkPoint(ctx context.Context, partition int, sequence uint64, to int) (bool, error) {
	if sequence == 0 {
		return false, nil
	}
	m, err := leader.At(ctx, s.nc, streamName(partition), sequence)
	if errors.Is(err, leader.ErrNotFound) { // all of it has left the log
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var b events.Batch
	if events.DecodeEntry(m.Subject, m.Data, m.Header.Get(jetstream.MsgIDHeader), to/2, &b) != nil {
		return false, nil
	}
	i := slices.Index(b.Kinds, events.LogRepartitioned)
	return i >= 0 && b.AttributesOf(i).Revision == uint64(to), nil
}

// fork makes the stream of a partition that forks from another one after its fork point, and puts a
// first entry into it: the fork point again, which says nothing new.
func (s *repartition) fork(ctx context.Context, parent, partition int, at uint64, to int) error {
	cfg := s.streams[parent].CachedInfo().Config // with what the operator has changed
	want := streamConfig(partition, to, s.cfg)
	cfg.Name, cfg.Description, cfg.Subjects, cfg.FirstSeq = want.Name, want.Description, want.Subjects, at+1
	cfg.Metadata = want.Metadata
	cfg.Metadata[metaParent], cfg.Metadata[metaFork] = strconv.Itoa(parent), strconv.FormatUint(at, 10)
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
	s.cfg.hooks.stepped("made")
	first := entryOf(events.BatchSubject(partition), repartitionedTo(to))
	for have.State.LastSeq <= at {
		if _, err = s.js.PublishMsg(ctx, first, jetstream.WithExpectLastSequence(at)); err == nil {
			return nil
		}
		if e := pause(ctx); e != nil {
			return fmt.Errorf("%w: %w", e, err)
		}
		if have, err = stream.Info(ctx); err != nil {
			return err
		}
	}
	return nil
}
