package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/config"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// rawJetStream publishes batches like those of the log to bare streams, one for each partition of
// the log, with the same fsync setting, and does nothing else: there is no fold, and the same few
// batches, encoded beforehand, are sent over and over.
func (r *run) rawJetStream(ctx context.Context, dir string) error {
	batches, receipts, err := r.encoded(16)
	if err != nil {
		return err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "raw", JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, MaxPayload: 8 << 20,
		SyncAlways: r.o.Config.Log.Fsync == config.FsyncAlways,
	})
	if err != nil {
		return err
	}
	srv.Start()
	defer func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	if !srv.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("the raw server is not ready")
	}
	var stored atomic.Int64
	start := time.Now()
	deadline := start.Add(r.o.Duration / 4)
	group, ctx := errgroup.WithContext(ctx)
	for k := range r.server.Log.Partitions() {
		group.Go(func() error {
			return publishRaw(ctx, srv, k, deadline, func(js jetstream.JetStream, subject string) error {
				// A few are in flight, so that the stream never waits for the
				// publisher.
				var acks []jetstream.PubAckFuture
				for i := 0; time.Now().Before(deadline); i++ {
					f, err := js.PublishAsync(subject, batches[i%len(batches)])
					if err != nil {
						return err
					}
					if acks = append(acks, f); len(acks) < 4 {
						continue
					}
					if err := await(ctx, acks[0]); err != nil {
						return err
					}
					acks = append(acks[:0], acks[1:]...)
					stored.Add(int64(receipts[i%len(receipts)]))
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.result.RawJetStream = float64(stored.Load()) / time.Since(start).Seconds()
	return nil
}

func publishRaw(ctx context.Context, srv *server.Server, k int, deadline time.Time, publish func(jetstream.JetStream, string) error) error {
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	subject := fmt.Sprintf("raw.%d", k)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: fmt.Sprintf("RAW_%d", k), Subjects: []string{subject}}); err != nil {
		return err
	}
	return publish(js, subject)
}

func await(ctx context.Context, f jetstream.PubAckFuture) error {
	select {
	case <-f.Ok():
		return nil
	case err := <-f.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// encoded makes n log entries of the benchmark's own traffic, of the size that entries have at full
// load, and returns how many receipts each holds.
func (r *run) encoded(n int) (entries [][]byte, receipts []int, err error) {
	traffic, err := sim.New(r.o.Traffic)
	if err != nil {
		return nil, nil, err
	}
	gens, err := traffic.Generators(1)
	if err != nil {
		return nil, nil, err
	}
	var b events.Builder
	buf := make([]events.Event, 0, rawEntryEvents)
	for range n {
		buf = gens[0].Next(buf[:0], rawEntryEvents)
		b.Reset()
		count := 0
		for i := range buf {
			b.Add(&buf[i])
			if k := buf[i].Kind; k == events.MessageRead || k == events.MessageDelivered {
				count++
			}
		}
		entries = append(entries, b.Encode(nil))
		receipts = append(receipts, count)
	}
	return entries, receipts, nil
}

// rawEntryEvents is the number of events in an entry of the raw measurement.
const rawEntryEvents = 4096

// replay rebuilds the state beside the live one and compares the two.
func (r *run) replay(ctx context.Context) error {
	start := time.Now()
	var folded time.Duration
	result, err := r.server.Projector.Rebuild(ctx, projector.RebuildOptions{Progress: func(p projector.Progress) {
		if p.Phase == "replay" {
			folded = time.Since(start)
		}
	}})
	if err != nil {
		return err
	}
	r.result.VerifyEqual = result.Equal
	if !result.Equal {
		return fmt.Errorf("the replayed state is not the live one: %+v", result.Partitions)
	}
	r.result.Replay = float64(r.totals().Receipts) / folded.Seconds()
	return nil
}

// rawReplay reads and decodes the log, and nothing else.
func (r *run) rawReplay(ctx context.Context) error {
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for k := range r.server.Log.Partitions() {
		group.Go(func() error { return r.readAll(ctx, k) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.result.RawReplay = float64(r.totals().Receipts) / time.Since(start).Seconds()
	return nil
}

func (r *run) readAll(ctx context.Context, partition int) error {
	_, last, err := r.server.Log.Bounds(ctx, partition)
	if err != nil {
		return err
	}
	reader, err := r.server.Log.Read(ctx, partition, 0)
	if err != nil {
		return err
	}
	defer reader.Close()
	var b events.Batch
	for {
		var e eventlog.Entry
		if e, err = reader.Next(ctx); err != nil {
			return err
		}
		if err := events.DecodeEntry(e.Subject, e.Data, e.MsgID, r.server.Log.Partitions(), &b); err != nil {
			return err
		}
		if e.Sequence == last {
			return nil
		}
	}
}
