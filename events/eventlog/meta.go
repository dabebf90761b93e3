package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// The server replaces the two files that describe a stream one after the other, so that a kill
// between the two leaves the new configuration with the checksum of the old one. The server would
// leave such a stream out.

// mendedMeta returns the text that the configuration of a stream with a bad checksum certainly has;
// nil if it is not certain. Either it is the very text that the server writes, of the stream that
// the witness knows, and only the checksum is another one; or one bit of it was flipped, and it
// fits its checksum with that bit flipped back.
func mendedMeta(s *blockfile.Stream, attested witness.Attestation) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(s.Dir, server.JetStreamMetaFile))
	if err != nil {
		return nil, err
	}
	sum, err := os.ReadFile(filepath.Join(s.Dir, server.JetStreamMetaFileSum))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			if bytes.Equal(blockfile.MetaSum(s.Name, text), sum) {
				return text, nil
			}
			text[i] ^= 1 << bit
		}
	}
	var info server.FileStreamInfo
	if json.Unmarshal(text, &info) != nil || info.Name != s.Name || attested.Last == 0 || !info.Created.Equal(attested.Created) {
		return nil, nil
	}
	if again, err := json.Marshal(info); err != nil || !bytes.Equal(again, text) {
		return nil, err
	}
	return text, nil
}

// mendMetas mends the configurations of which it is certain how, and logs each.
func mendMetas(dir string, attestations witness.Attestations, logger *slog.Logger) error {
	list, err := blockfile.Streams(filepath.Join(dir, server.JetStreamStoreDir))
	if err != nil {
		return err
	}
	for _, s := range list {
		if _, err := s.Meta(); !errors.Is(err, blockfile.ErrDamaged) {
			continue
		}
		text, err := mendedMeta(&s, attestations[s.Name])
		if text == nil || err != nil {
			continue // the inspection says what is wrong
		}
		if _, err := blockfile.Begin(s.Dir, s.Name, text); err != nil {
			return fmt.Errorf("mend the configuration of stream %s: %w", s.Name, err)
		}
		logger.Warn("the checksum of a stream's configuration is mended; a crash cut the change of its settings off",
			slog.String("stream", s.Name))
	}
	return nil
}

// metas mends the configurations that are certain, and takes from the source those that are not.
func (r *repair) metas() (list []Repaired, err error) {
	streams, err := blockfile.Streams(filepath.Join(r.dir, server.JetStreamStoreDir))
	if err != nil {
		return nil, fmt.Errorf("eventlog: repair: %w", err)
	}
	for _, s := range streams {
		if _, err := s.Meta(); !errors.Is(err, blockfile.ErrDamaged) {
			continue
		}
		done := Repaired{Stream: s.Name, Partition: partitionOf(s.Name), What: "its configuration is what the server wrote; its checksum is made anew"}
		text, err := mendedMeta(&s, r.attestations[s.Name])
		if err == nil && text == nil && r.o.From != nil {
			text = r.metaFrom(s.Name)
			done.What = "its configuration is taken from the backup"
		}
		if err != nil || text == nil {
			continue
		}
		if _, err := blockfile.Begin(s.Dir, s.Name, text); err != nil {
			return list, fmt.Errorf("eventlog: repair stream %s: %w", s.Name, err)
		}
		list = append(list, done)
	}
	return list, nil
}

// metaFrom is the source's configuration of a stream, if it is the one that the witness knows.
func (r *repair) metaFrom(stream string) []byte {
	text := r.o.From.Meta(stream)
	meta, err := blockfile.ParseMeta(text)
	if attested, known := r.attestations[stream]; err != nil || !known || !attested.Created.Equal(meta.Created) {
		return nil
	}
	return text
}
