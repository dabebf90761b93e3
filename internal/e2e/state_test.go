package e2e

import (
	"os"
	"path/filepath"
	"strings"
)

// generation is the name of the current generation in the directory of a partition's state.
func (s *server) generation(dir string) string {
	s.t.Helper()
	name, err := os.ReadFile(filepath.Join(dir, "CURRENT"))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}
