package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// removeHalfMade takes away what is left of a stream whose creation was killed between its two files of
// description. nats-server leaves such a stream out at a start, and when it is created again it keeps the first
// file and never writes the second, so that the stream, entries and all, would be left out at the start after
// that. Nothing can have been stored in it: one that has entries without being whole is an error, not removed.
func removeHalfMade(dir string, logger *slog.Logger) error {
	made, err := filepath.Glob(filepath.Join(dir, server.JetStreamStoreDir, "*", "streams", "*", server.JetStreamMetaFile))
	if err != nil {
		return fmt.Errorf("look for half-made streams: %w", err)
	}
	for _, description := range made {
		stream := filepath.Dir(description)
		info, err := os.Stat(filepath.Join(stream, server.JetStreamMetaFileSum))
		if err == nil && info.Size() > 0 {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for half-made streams: %w", err)
		}
		if err := holdsNothing(stream); err != nil {
			return err
		}
		logger.Info("removing a stream whose creation was cut off", "stream", filepath.Base(stream))
		if err := os.RemoveAll(stream); err != nil {
			return fmt.Errorf("remove half-made stream: %w", err)
		}
	}
	return nil
}

// holdsNothing returns an error if a stream's directory has a block of entries.
func holdsNothing(stream string) error {
	blocks, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	if err != nil {
		return fmt.Errorf("look for half-made streams: %w", err)
	}
	for _, block := range blocks {
		if info, err := os.Stat(block); err != nil || info.Size() > 0 {
			return &StreamConfigError{
				Stream: filepath.Base(stream), Field: server.JetStreamMetaFileSum, Have: "missing",
				Want: "present, as the stream has entries",
			}
		}
	}
	return nil
}
