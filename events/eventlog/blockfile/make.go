package blockfile

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
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
	if err := atomicfile.MkdirAll(filepath.Join(dir, blocksDir), 0o700); err != nil {
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
		if err := atomicfile.Rename(path+".new", path); err != nil {
			return s, err
		}
	}
	return s, nil
}

// MetaSum is what the server keeps beside the text of a stream's configuration.
func MetaSum(name string, meta []byte) []byte {
	h := newHash(name)
	h.Write(meta)
	return []byte(hex.EncodeToString(h.Sum(nil)))
}

// MetaText is the text of the stream's configuration. It fails as [Stream.Meta] does.
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
	path := filepath.Join(s.Dir, blockPath(index))
	if err := atomicfile.WriteSynced(path+".new", data, 0o600); err != nil {
		return err
	}
	return atomicfile.Rename(path+".new", path)
}

// WithReplicas returns the text of a configuration with another number of replicas.
func WithReplicas(meta []byte, replicas int) ([]byte, error) {
	return change(meta, func(config map[string]any) { config["num_replicas"] = replicas })
}

// WithCreated returns the text of a configuration with when the stream was made.
func WithCreated(meta []byte, created time.Time) ([]byte, error) {
	return change(meta, func(config map[string]any) { config["Created"] = created })
}

// OfOne returns the text of a configuration as a server that is alone can have it.
func OfOne(meta []byte) ([]byte, error) {
	return change(meta, func(config map[string]any) {
		config["num_replicas"] = 1
		delete(config, "placement")
	})
}

// ConfigText returns what the text of a configuration says that a client may set: all of it but
// when the stream was made.
func ConfigText(meta []byte) ([]byte, error) {
	return change(meta, func(config map[string]any) { delete(config, "Created") })
}

// First is the sequence of the first message in the files of a stream, 0 if there is none.
func (s *Stream) First() (uint64, error) {
	list, err := s.blocks()
	if err != nil {
		return 0, err
	}
	for _, b := range list {
		data, err := os.ReadFile(b.path)
		if err != nil {
			return 0, err
		}
		for r, err := range Records(s.Name, b.index, data) {
			if err != nil {
				return 0, err
			}
			if !r.Gone {
				return r.Sequence, nil
			}
		}
	}
	return 0, nil
}

// Pack writes the files of a stream that no server has open as a tar, as nats-server takes it for a
// stream that is restored: the configuration and the blocks, without what it can make of them.
func (s *Stream) Pack(w io.Writer) error {
	names := []string{metaFile, metaSumFile}
	list, err := s.blocks()
	if err != nil {
		return err
	}
	for _, b := range list {
		names = append(names, path.Join(blocksDir, filepath.Base(b.path)))
	}
	t := tar.NewWriter(w)
	for _, name := range names {
		if err := s.packFile(t, name); err != nil {
			return err
		}
	}
	return t.Close()
}

func (s *Stream) packFile(t *tar.Writer, name string) error {
	f, err := os.Open(filepath.Join(s.Dir, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
