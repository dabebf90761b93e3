package e2e

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// TestDemoLeavesSomethingToLookAt pours a small day into a server and follows where it points.
func TestDemoLeavesSomethingToLookAt(t *testing.T) {
	s := startServer(t)
	shown := s.ctl("demo", "--messages=150", "--for=1s", "--seed=5")
	if shown.code != 0 || !strings.Contains(shown.out, "The page: "+s.base) {
		t.Fatalf("demo: %v", shown)
	}
	commands := regexp.MustCompile(`(?m): +receiptctl (.*)$`).FindAllStringSubmatch(shown.out, -1)
	if len(commands) != 4 {
		t.Fatalf("it names %d commands:\n%s", len(commands), shown.out)
	}
	for _, command := range commands {
		got := s.ctl(strings.Fields(command[1])...)
		if got.code != 0 || strings.Count(got.out, "\n") < 4 {
			t.Errorf("%s: %v", command[1], got)
		}
	}
	if got := s.ctl("demo"); got.code != 1 || !strings.Contains(got.err, "--into-existing") {
		t.Errorf("a second demo: %v", got)
	}
	again := s.ctl("demo", "--messages=150", "--for=0s", "--seed=6", "--into-existing", "--json")
	var result struct {
		Events   int
		Outcomes map[string]int
	}
	if err := json.Unmarshal([]byte(again.out), &result); err != nil || again.code != 0 || again.err != "" {
		t.Fatalf("%v: %v", err, again)
	}
	// Groups of the second day are those of the first, so their members may read and write. What is
	// rejected are reads of a recalled message, a large group's if it happens so.
	if n := result.Outcomes["rejected"]; result.Events < 1000 || n == 0 || 10*n > result.Events {
		t.Errorf("%+v", result)
	}
	s.verify()
}
