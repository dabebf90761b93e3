package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
)

// Wherever the power is lost while a checkpoint of several tables is committed, the state is the
// one before or the one after.
func TestCrashLeavesACheckpointWholeOrNot(t *testing.T) {
	disk := vfs.NewCrashableMem()
	var mu sync.Mutex
	var crashes []*vfs.MemFS
	watching := false
	watched := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if watching && op.Kind != errorfs.OpFileWrite {
			crashes = append(crashes, disk.CrashClone(vfs.CrashCloneCfg{}))
		}
		return nil
	}))
	watch := func(on bool) {
		mu.Lock()
		defer mu.Unlock()
		watching = on
	}
	s := openTables(t, watched)
	log := wide()
	p := part(t, s)
	fold(t, p, log[:2])
	commit(t, s, p)
	before, _ := digest(t, s)
	fold(t, p, log)
	watch(true)
	commit(t, s, p)
	watch(false)
	after, _ := digest(t, s)
	closeStore(t, s)

	seen := map[string]int{}
	for _, crashed := range crashes {
		s := open(t, crashed)
		sum, _ := digest(t, s)
		seen[sum]++
		closeStore(t, s)
	}
	if seen[before] == 0 || len(crashes) < 10 {
		t.Errorf("%d crashes, %d of them before the checkpoint was there", len(crashes), seen[before])
	}
	if other := len(crashes) - seen[before] - seen[after]; other > 0 {
		t.Errorf("after %d of %d crashes the state is neither the one before nor the one after", other, len(crashes))
	}
}

// wide is a log whose last entry changes so much in several tables of the state that each of them
// becomes a file of its own.
func wide() history.Log {
	const n = 2000
	members := make([]string, n)
	sent := make([]events.Event, n)
	for i := range n {
		members[i] = fmt.Sprintf("user-%s-%d", strings.Repeat("u", 40), i)
		sent[i] = events.Event{
			Kind: events.MessageSent, App: "acme#chat", Group: "g", User: "ann", Receipt: true,
			Message: fmt.Sprintf("message-%s-%d", strings.Repeat("m", 40), i),
		}
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	return history.Log{
		{Sequence: 1, At: 1, Events: []events.Event{{Kind: events.AppConfigured, App: "acme#chat", Settings: &settings, Revision: 1}}},
		{Sequence: 2, At: 2, Events: []events.Event{{Kind: events.GroupCreated, App: "acme#chat", Group: "f", User: "ann", Members: []string{"ben"}}}},
		{Sequence: 3, At: 3, Events: append([]events.Event{
			{Kind: events.GroupCreated, App: "acme#chat", Group: "g", User: "ann", Members: members},
		}, sent...)},
	}
}
