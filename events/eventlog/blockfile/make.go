package blockfile

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/receiptd/receiptd/internal/atomicfile"
)

// Make makes the directory of a stream that is gone, with the configuration of another one but for
// its name, description and subjects. It has no messages; see [Stream.Mend].
func Make(dir, name, description string, subjects []string, created time.Time, like Stream) (Stream, error) {
	text, err := like.MetaText()
	if err != nil {
		return Stream{}, err
	}
	text, err = change(text, func(config map[string]any) {
		config["name"], config["description"], config["subjects"], config["Created"] = name, description, subjects, created
	})
	if err != nil {
		return Stream{}, err
	}
	return Begin(dir, name, text)
}

// Begin makes the directory of a stream with the text of its configuration, and without messages.
// What lies there is replaced. It is synced.
func Begin(dir, name string, meta []byte) (Stream, error) {
	s := Stream{Dir: dir, Name: name}
	if err := os.MkdirAll(filepath.Join(dir, blocksDir), 0o700); err != nil {
		return s, err
	}
	for _, file := range []struct {
		name    string
		content []byte
	}{{metaFile, meta}, {metaSumFile, MetaSum(name, meta)}} {
		path := filepath.Join(dir, file.name)
		if err := atomicfile.WriteSynced(path+".new", file.content, 0o600); err != nil {
			return s, err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return s, err
		}
	}
	return s, atomicfile.SyncDir(dir)
}

// MetaSum is what the server keeps beside the text of a stream's configuration.
func MetaSum(name string, meta []byte) []byte {
	h := newHash(name)
	h.Write(meta)
	return []byte(hex.EncodeToString(h.Sum(nil)))
}

// MetaText is the text of the stream's configuration. The errors are those of [Stream.Meta].
func (s *Stream) MetaText() ([]byte, error) {
	if _, err := s.Meta(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(s.Dir, metaFile))
}

// WithMetadata returns the text of a configuration with a value of its metadata set.
func WithMetadata(meta []byte, key, value string) ([]byte, error) {
	return change(meta, func(config map[string]any) {
		metadata, _ := config["metadata"].(map[string]any)
		if metadata == nil {
			metadata = map[string]any{}
		}
		metadata[key] = value
		config["metadata"] = metadata
	})
}

// change decodes the text of a configuration, has it changed, and encodes it again. Numbers stay
// what they are: some do not fit into a float.
func change(meta []byte, f func(config map[string]any)) ([]byte, error) {
	var config map[string]any
	d := json.NewDecoder(bytes.NewReader(meta))
	d.UseNumber()
	if err := d.Decode(&config); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	f(config)
	return json.Marshal(config)
}

// WriteBlock writes a block file of the stream, synced with its name. One that is there
// is replaced.
func (s *Stream) WriteBlock(index int, data []byte) error {
	path := filepath.Join(s.Dir, BlockPath(index))
	if err := atomicfile.WriteSynced(path+".new", data, 0o600); err != nil {
		return err
	}
	return atomicfile.Rename(path+".new", path)
}
