package inbox

import (
	"fmt"
	"testing"
)

// However fast a device takes its messages, a crash shows it no more of them again than the SDK
// recognises: what is acknowledged waits for its position to be written.
func TestCrashShowsFewMessagesAgain(t *testing.T) {
	nc := connection(t)
	b := openInbox(t, nc, testConfig(t))
	m := b.mailbox(t, "ann", "web")
	const messages, step = 300, 3
	for i := range messages {
		b.append(t, fmt.Sprint(i), "ann")
	}
	most := 0
	for taken := 0; taken < messages; taken += step {
		_, last := m.take(t, step, step)
		m.Acknowledge(last)
		devices, err := b.loadPositions(testContext(t), m.key)
		if err != nil {
			t.Fatal(err)
		}
		var written uint64
		for _, p := range devices {
			written = max(written, p.Sequence)
		}
		most = max(most, int(last-written)) // there is one user, whose sequences have no gaps
	}
	if most > maxUnsaved+step {
		t.Errorf("up to %d acknowledged messages had no position", most)
	}
}
