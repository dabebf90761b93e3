package eventlog

import (
	"context"
	"testing"
	"time"
)

// Entries keep their distance under load, what comes alone does not wait for anything, and the end of the log ends a wait.
func TestEntriesKeepADistanceUnderLoad(t *testing.T) {
	stopping, stop := context.WithCancel(context.Background())
	p := &partition{log: &Log{stopping: stopping}}
	took := func() time.Duration {
		start := time.Now()
		p.pace()
		return time.Since(start)
	}
	p.begun, p.size = time.Now(), paceFromEvents
	if p.pace(); time.Since(p.begun) < entryEvery {
		t.Errorf("the next entry begins %v after one of %d events", time.Since(p.begun), p.size)
	}
	// An entry that began in an hour would make the next one wait for that long.
	p.begun, p.size = time.Now().Add(time.Hour), paceFromEvents-1
	if d := took(); d > time.Minute {
		t.Errorf("after an entry of %d events the next one waits %v", p.size, d)
	}
	p.begun, p.size = time.Now().Add(-entryEvery), paceFromEvents
	if d := took(); d > time.Minute {
		t.Errorf("an entry that comes later waits %v", d)
	}
	time.AfterFunc(10*time.Millisecond, stop)
	p.begun, p.size = time.Now().Add(time.Hour), paceFromEvents
	if d := took(); d > time.Minute {
		t.Errorf("a log that ends waits %v", d)
	}
}
