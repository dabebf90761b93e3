package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// removeIncompleteStreams removes what is left of a stream whose creation was killed between the
// two files that describe it, or whose description is damaged before anything was stored.
// nats-server leaves such a stream out when it starts. When the stream is created again, the server
// keeps the files that are there, so that the stream would be left out at the start after that,
// with everything that was stored meanwhile. One that has entries all the same is an error, and is
// not removed.
func removeIncompleteStreams(ctx context.Context, dir string, attestations witness.Attestations, logger *slog.Logger) error {
	streams, err := blockfile.Streams(filepath.Join(dir, server.JetStreamStoreDir))
	if err != nil {
		return fmt.Errorf("look for incomplete streams: %w", err)
	}
	for _, s := range streams {
		_, err := s.Meta()
		if err == nil || attestations[s.Name].Last > 0 {
			continue // the inspection tells of one that lost its entries
		}
		if !errors.Is(err, blockfile.ErrDamaged) {
			return fmt.Errorf("look for incomplete streams: %w", err)
		}
		if err := hasNoEntries(ctx, &s); err != nil {
			return err
		}
		logger.Info("removing a stream whose creation was cut off", "stream", s.Name)
		if err := os.RemoveAll(s.Dir); err != nil {
			return fmt.Errorf("remove incomplete stream: %w", err)
		}
	}
	return nil
}

// hasNoEntries returns an error if there are entries in a stream's blocks, or what may be some. A
// stream that is to begin with a later sequence has a block before it has a description, which says
// only what is gone.
func hasNoEntries(ctx context.Context, s *blockfile.Stream) error {
	r, err := s.Scan(ctx, blockfile.Options{})
	if err != nil {
		return fmt.Errorf("look for incomplete streams: %w", err)
	}
	if r.Messages > 0 || len(r.Damage) > 0 || r.Torn != nil {
		return &StreamConfigError{
			Stream: s.Name, Field: server.JetStreamMetaFileSum, Have: "missing",
			Want: "present, as the stream has entries",
		}
	}
	return nil
}
