package eventlog

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

var errStoreOff = errors.New("the embedded server turned its store off, after a full disk as a rule; see its last error in the log")

// storeLook is how often it is looked whether the server in this process has turned its store off.
const storeLook = time.Second

// inside is the server in this process, be it alone or one of a cluster; nil for an outside server.
func (l *Log) inside() *server.Server {
	switch {
	case l.server != nil:
		return l.server.srv
	case l.peer != nil:
		return l.peer.srv
	}
	return nil
}

// watchStore calls off once the server in this process has turned its store off, which it does for
// good. In a node that others lead nobody waits for an answer that would be missing: it would look
// well and hold no replica, and the next node that goes would take the majority with it.
func (l *Log) watchStore(ctx context.Context, off func()) {
	srv := l.inside()
	if srv == nil {
		return
	}
	tick := time.NewTicker(storeLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if !srv.JetStreamEnabled() {
			off()
			return
		}
	}
}
