package main

import (
	"strings"
	"testing"
)

// A change of the cluster that was taken says what happens next, and where to look.
func TestChangesOfTheClusterSayWhatComes(t *testing.T) {
	for _, test := range []struct {
		args  string
		calls string
		want  string
	}{
		{"drain b/1", "PUT /v1/cluster/nodes/b%2F1/drain", "b/1 is drained: its copies leave once others fold them and are the same"},
		{"undrain b", "DELETE /v1/cluster/nodes/b/drain", "b gets its share of the copies again"},
		{"copies 0", "PUT /v1/cluster/copies", "every node folds everything"},
		{"copies 3", "PUT /v1/cluster/copies", "3 nodes fold each partition"},
		{"move 7 --from a --to b", "PUT /v1/cluster/partitions/7/move", "partition 7 is to be on b, and leaves a once it serves there"},
		{"move 7 --drop", "DELETE /v1/cluster/partitions/7/move", "partition 7 goes to where it would be"},
		{"forget c", "DELETE /v1/cluster/nodes/c", "c is forgotten"},
	} {
		server, requests := answering(t, "")
		args := append([]string{"cluster"}, strings.Fields(test.args)...)
		code, out, stderr := runForTest(t, append(args, "--server", server.URL, "--admin-key=k")...)
		if code != exitOK || stderr != "" || !strings.HasPrefix(out, test.want) && !strings.Contains(out, test.want) {
			t.Errorf("%s: exit %d, %q, %q", test.args, code, stderr, out)
		}
		if !strings.HasPrefix(test.args, "forget") && !strings.Contains(out, "receiptctl cluster status") {
			t.Errorf("%s says nothing of where to look: %q", test.args, out)
		}
		if first := (*requests)[0]; first.call != test.calls {
			t.Errorf("%s: asked %q", test.args, *requests)
		}
	}
}

// Of a node that is away it is told since when, and what there is to do; of one that is there why
// it is not ready.
func TestStatusTellsWhatIsWrongWithNodes(t *testing.T) {
	server, _ := answering(t, `{"node":"a","nodes":[{"node":"a","state":"serving","version":"v1","heard_ms":3,"max_rules_level":2},
		{"node":"b","state":"starting","version":"v1","problem":"partition 1 is 500 entries behind","heard_ms":150,"max_rules_level":2},
		{"node":"c","state":"silent","heard_ms":10800000}],"partitions":[]}`)
	code, out, stderr := runForTest(t, "cluster", "status", "--server", server.URL, "--admin-key=k")
	if code != exitOK || stderr != "" {
		t.Fatalf("exit %d, %q", code, stderr)
	}
	for _, want := range []string{"3 ms ago", "3h0m0s ago", "b is not ready: partition 1 is 500 entries behind", "receiptctl cluster forget c"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
	for _, line := range strings.Split(out, "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "c" && f[1] == "silent" && (len(f) != 6 || f[4] != "-" || f[5] != "-") {
			t.Errorf("of c nothing is known but that it is silent: %q", line)
		}
	}
}
