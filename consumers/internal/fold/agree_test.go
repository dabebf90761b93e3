package fold

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// laggingLog is a replicated log whose servers say at first that it ends earlier than it does.
type laggingLog struct {
	Log   // none of it
	first uint64
	entry eventlog.Entry // the last one
}

func (l *laggingLog) Bounds(context.Context, int) (first, last uint64, err error) {
	return l.first, l.entry.Sequence / 2, nil
}

func (l *laggingLog) Reach(context.Context, int, uint64) (first, last uint64, err error) {
	return l.first, l.entry.Sequence, nil
}

func (l *laggingLog) EntryAt(context.Context, int, uint64) (eventlog.Entry, error) {
	return l.entry, nil
}

// A server that lags, or was deposed, is not believed that the log is shorter than the state: it
// would be folded again from the start, or be refused where the log no longer has that.
func TestStateIsNotFoldedAgainForALaggingAnswer(t *testing.T) {
	g := stateOn(t, vfs.NewMem())
	defer func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}()
	foldAll(t, g, history.Logs().Example(3), func() error { return nil })
	at, _ := g.Part.Position()
	log := &laggingLog{first: 1, entry: eventlog.Entry{Sequence: at + 1, Data: []byte("the last entry")}}
	last := projections.Decoded{Sequence: at + 1, Fingerprint: eventlog.Fingerprint(log.entry), Batch: new(events.Batch)}
	if _, err := g.Part.Apply(last); err != nil {
		t.Fatal(err)
	}
	for _, first := range []uint64{1, at / 4} {
		log.first = first
		if agrees, err := g.Agrees(t.Context(), log, 0); !agrees || err != nil {
			t.Errorf("a log from entry %d on that has the state's: %v, %v", first, agrees, err)
		}
	}
	log.first, log.entry.Data = 1, []byte("another one")
	if agrees, err := g.Agrees(t.Context(), log, 0); agrees || err != nil {
		t.Errorf("a log with another entry: %v, %v", agrees, err)
	}
}
