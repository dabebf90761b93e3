package blockfile

import (
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
	s := Stream{Dir: dir, Name: name}
	if _, err := like.Meta(); err != nil {
		return s, err
	}
	text, err := os.ReadFile(filepath.Join(like.Dir, metaFile))
	if err != nil {
		return s, err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return s, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	config["name"], config["description"], config["subjects"], config["Created"] = name, description, subjects, created
	if text, err = json.Marshal(config); err != nil {
		return s, err
	}
	if err := os.MkdirAll(filepath.Join(dir, blocksDir), 0o700); err != nil {
		return s, err
	}
	h := newHash(name)
	h.Write(text)
	for file, content := range map[string][]byte{metaFile: text, metaSumFile: []byte(hex.EncodeToString(h.Sum(nil)))} {
		if err := atomicfile.WriteSynced(filepath.Join(dir, file), content, 0o600); err != nil {
			return s, err
		}
	}
	return s, atomicfile.SyncDir(dir)
}
