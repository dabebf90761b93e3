package runtime

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/consumers/projector"
)

// TestUpgrade opens the data directories of earlier builds: testdata/upgrade, in which make.sh has
// made them. Each is served with the answers that the build gave; its state is folded again by the
// rules of this one, and is then what a replay gives; the doctor finds nothing.
func TestUpgrade(t *testing.T) {
	archives, err := filepath.Glob("testdata/upgrade/*.tar.gz")
	if err != nil || len(archives) == 0 {
		t.Fatalf("%d archives, %v", len(archives), err)
	}
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, archive, dir)
			cfg := testConfig(t)
			cfg.Data, cfg.Log.Partitions, cfg.HTTP.AdminKey = filepath.Join(dir, "data"), 2, "an-admin-key-of-the-upgrade-test"
			r := start(t, cfg)
			eventually(t, "the server is ready", func() bool {
				res, err := http.Get(fmt.Sprint("http://", r.Addr(), "/readyz"))
				return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
			})
			same := func() {
				t.Helper()
				for path, want := range answers(t, filepath.Join(dir, "answers")) {
					if got := r.answer(string(cfg.HTTP.AdminKey), path); !includes(got, want) {
						t.Errorf("%s: %v, want %v", path, got, want)
					}
				}
			}
			same()
			eventually(t, "the state is folded again", func() bool {
				older, err := r.Projector.OlderRules()
				return err == nil && !older
			})
			same()
			var result projector.RebuildResult
			eventually(t, "the state is verified", func() bool {
				result, err = r.Projector.Rebuild(testContext(t), projector.RebuildOptions{})
				return !errors.Is(err, projector.ErrRebuilding)
			})
			if err != nil || !result.Equal {
				t.Errorf("verify: %+v, %v", result, err)
			}
			r.stop()
			x, err := Examine(testContext(t), cfg, nil)
			// Those of the machine are none of the data.
			x.Findings = slices.DeleteFunc(x.Findings, func(f Finding) bool {
				return f.Code == foundDisk || f.Code == foundClock || f.Code == foundFiles || f.Code == foundMemory
			})
			if err != nil || len(x.Findings) > 0 {
				t.Errorf("the doctor finds %+v, %v", x.Findings, err)
			}
		})
	}
}

// unpack unpacks an archive of directories and files.
func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || !filepath.IsLocal(h.Name) {
			t.Fatalf("%s: %v", archive, err)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var data []byte
			if data, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, data, h.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// answers are what the earlier build answered, by path.
func answers(t *testing.T, file string) map[string]any {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]any{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		path, text, _ := strings.Cut(lines.Text(), "\t")
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[path] = v
	}
	if len(all) == 0 {
		t.Fatal("no answers")
	}
	return all
}

// answer is what the server answers.
func (r *running) answer(key, path string) (v any) {
	r.t.Helper()
	rq, err := http.NewRequestWithContext(testContext(r.t), http.MethodGet, fmt.Sprint("http://", r.Addr(), "/v1/apps/acme/chat/", path), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil || res.StatusCode != http.StatusOK {
		r.t.Errorf("%s: %s, %v", path, res.Status, err)
	}
	return v
}

// includes reports whether an answer says all that an earlier one said. It may say more, and a
// cursor is another one.
func includes(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		for name, v := range want {
			ok = ok && (name == "cursor" || name == "next_cursor" || includes(got[name], v))
		}
		return ok
	case []any:
		got, ok := got.([]any)
		ok = ok && len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = includes(got[i], want[i])
		}
		return ok
	}
	return reflect.DeepEqual(got, want)
}
