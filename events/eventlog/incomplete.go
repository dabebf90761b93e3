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

// removeIncompleteStreams removes what is left of a stream whose creation was killed between the
// two files that describe it. nats-server leaves such a stream out when it starts. When the stream
// is created again, the server keeps the first file and never writes the second, so that the stream
// would be left out at the start after that, with everything that was stored meanwhile. Nothing can
// have been stored in a stream that is not complete: one that has entries all the same is an error,
// and is not removed.
func removeIncompleteStreams(dir string, logger *slog.Logger) error {
	descriptions, err := filepath.Glob(filepath.Join(dir, server.JetStreamStoreDir, "*", "streams", "*", server.JetStreamMetaFile))
	if err != nil {
		return fmt.Errorf("look for incomplete streams: %w", err)
	}
	for _, description := range descriptions {
		stream := filepath.Dir(description)
		info, err := os.Stat(filepath.Join(stream, server.JetStreamMetaFileSum))
		if err == nil && info.Size() > 0 {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for incomplete streams: %w", err)
		}
		if err := hasNoEntries(stream); err != nil {
			return err
		}
		logger.Info("removing a stream whose creation was cut off", "stream", filepath.Base(stream))
		if err := os.RemoveAll(stream); err != nil {
			return fmt.Errorf("remove incomplete stream: %w", err)
		}
	}
	return nil
}

// hasNoEntries returns an error if there is a block of entries in a stream's directory.
func hasNoEntries(stream string) error {
	blocks, err := filepath.Glob(filepath.Join(stream, "msgs", "*.blk"))
	if err != nil {
		return fmt.Errorf("look for incomplete streams: %w", err)
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
