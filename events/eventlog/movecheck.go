package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/leader"
)

// compare says in what the server's stream is not the one that it should be, which begins with the
// entry first: it wraps errWreck then.
func (m *Mover) compare(ctx context.Context, name string, first uint64) error {
	info, err := m.look(ctx, name)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = fmt.Errorf("%w: nobody answers for it", errWreck)
		}
		return err
	}
	attested := m.attestations[name]
	if err := m.lacks(name, info, first); err != nil || attested.At < first || first == 0 {
		return err
	}
	read, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	e, err := leader.At(read, m.Conn, name, attested.At)
	if err != nil {
		return err
	}
	if got := Fingerprint(Entry{Sequence: e.Sequence, Time: e.Time, Data: e.Data}); got != attested.Fingerprint {
		return fmt.Errorf("%w: its entry %d is another one", errWreck, attested.At)
	}
	return nil
}

// lacks says in what a stream is not the one that it should be, by what a server says of it.
func (m *Mover) lacks(name string, info *jetstream.StreamInfo, first uint64) error {
	attested, metadata := m.attestations[name], info.Config.Metadata
	switch {
	case metadata[metaRestoring] != m.Backup:
		return fmt.Errorf("%w: it is of another backup, %q", errWreck, metadata[metaRestoring])
	case info.State.LastSeq != attested.Last:
		return fmt.Errorf("%w: it ends with %d, not with %d", errWreck, info.State.LastSeq, attested.Last)
	case partitionOf(name) < 0 || attested.Last == 0:
		return nil
	}
	var entries uint64
	if first > 0 {
		entries = attested.Last - first + 1
	}
	if info.State.Msgs != entries || entries > 0 && info.State.FirstSeq != first {
		return fmt.Errorf("%w: it has %d entries from %d on, not %d from %d on", errWreck, info.State.Msgs, info.State.FirstSeq, entries, first)
	}
	return nil
}

// settleMax is for how long replicas may come no nearer to what their leader has: servers have been
// seen to leave one behind for good after a restore, which might lead later.
const settleMax = 20 * time.Second

// settled waits until all replicas of a stream have what its leader has.
func (m *Mover) settled(ctx context.Context, name string) error {
	var before string
	moved := time.Now()
	for {
		info, err := m.look(ctx, name)
		if err != nil {
			return err
		}
		behind, state := m.behind(info.Cluster)
		if behind <= 0 {
			return nil
		}
		if state != before {
			before, moved = state, time.Now()
		}
		if time.Since(moved) > settleMax {
			return fmt.Errorf("%w: %d replicas do not get what it has:%s", errWreck, behind, state)
		}
		select {
		case <-time.After(staleEvery):
		case <-ctx.Done():
			return fmt.Errorf("%d replicas have not got all of it: %w", behind, ctx.Err())
		}
	}
}

// behind is how many replicas have not got all that their leader has, by what the server says of
// them.
func (m *Mover) behind(c *jetstream.ClusterInfo) (n int, state string) {
	if m.Replicas <= 1 || c == nil {
		return 0, ""
	}
	n = m.Replicas - 1
	for _, r := range c.Replicas {
		if r == nil {
			continue
		}
		state += fmt.Sprintf(" %s: current %v, offline %v, behind by %d;", r.Name, r.Current, r.Offline, r.Lag)
		if r.Current && !r.Offline && r.Lag == 0 {
			n--
		}
	}
	return n, state
}
