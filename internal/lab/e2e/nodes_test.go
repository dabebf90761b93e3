package e2e

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/receiptd/receiptd/internal/lab/natstest"
)

// allAtNodes has everything run against several nodes that a short form leaves out.
var allAtNodes = flag.Bool("nodes", false, "run all scenarios of the SDK, and kill more often, against three nodes as well")

// nodeCount is how many nodes stand for one server.
const nodeCount = 3

// startNodes starts nodes that form a cluster by themselves, and returns a server that stands for
// them: of its requests each goes to the next node, and asks for what was seen at the others.
func startNodes(t testing.TB, args ...string) *server {
	t.Helper()
	free := natstest.FreeAddresses(t, 2*nodeCount)
	listen, meet := free[:nodeCount], free[nodeCount:]
	all := &server{t: t}
	for i := range nodeCount {
		all.nodes = append(all.nodes, newServerAt(t, filepath.Join(t.TempDir(), "data"), append(slices.Clone(args),
			"--node="+string(rune('a'+i)), "--listen="+listen[i],
			"--cluster-listen="+meet[i], "--cluster-routes="+strings.Join(meet, ","), "--cluster-secret=the-secret-of-the-nodes")...))
	}
	failed := make([]error, nodeCount)
	var starting sync.WaitGroup
	for i, n := range all.nodes {
		starting.Go(func() {
			if failed[i] = n.launch(); failed[i] == nil {
				failed[i] = n.well()
			}
		})
	}
	starting.Wait()
	for i, err := range failed {
		if err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
	}
	return all
}

// seen is up to where the log was seen, at whichever node: of each partition, the last sequence.
type seen struct {
	mu   sync.Mutex
	upto map[int]uint64
}

// note remembers the position of an answer. A server that is alone tells none.
func (s *seen) note(answer *http.Response) {
	header := answer.Header.Get("Receiptd-Position")
	if header == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upto == nil {
		s.upto = map[int]uint64{}
	}
	for item := range strings.SplitSeq(header, ",") {
		partition, sequence, _ := strings.Cut(item, ":")
		k, err1 := strconv.Atoi(partition)
		at, err2 := strconv.ParseUint(sequence, 10, 64)
		if err1 == nil && err2 == nil {
			s.upto[k] = max(s.upto[k], at)
		}
	}
}

// ask has the answer to a request be of that position at least. Events need none: what becomes of
// them is decided where they are in the log.
func (s *seen) ask(request *http.Request) {
	if request.Header.Get("Content-Type") == ndjson {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, k := range slices.Sorted(maps.Keys(s.upto)) {
		list = append(list, fmt.Sprintf("%d:%d", k, s.upto[k]))
	}
	if list != nil {
		request.Header.Set("Receiptd-Position", strings.Join(list, ","))
	}
}

// TestSDKAtNodes runs scenarios of the SDK against nodes: each client is at another one, and each
// request goes to the next. The log, its replay and the state are the same at all of them. Of what
// is restarted or killed in a scenario, it is one node after the other.
func TestSDKAtNodes(t *testing.T) {
	npmInstalled(t, "sdk", "easemob-websdk")
	for _, script := range sdkScripts {
		for i, build := range script.builds {
			if !*allAtNodes && (i > 0 || !slices.Contains([]string{"document", "devices"}, script.name)) {
				continue
			}
			t.Run(script.name+"/"+build, func(t *testing.T) {
				t.Parallel()
				script.run(startNodes(t, script.args...), build)
			})
		}
	}
}

// TestModelAtNodes is [TestModelUnderKill] with nodes that take turns, of which one is killed at a
// time.
func TestModelAtNodes(t *testing.T) {
	t.Parallel()
	kills := 1
	if *allAtNodes {
		kills = 9
	}
	turn := 0
	modelHolds(startNodes(t), random(t), kills, func(s *server) {
		n := s.nodes[turn%len(s.nodes)]
		turn++
		if err := n.comeBack("KILL"); err != nil {
			t.Fatal(err)
		}
		for _, n := range s.nodes {
			if err := n.well(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
