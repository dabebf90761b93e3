package eventlog

import (
	"context"

	"github.com/nats-io/nats.go"
)

// Connect opens one more connection to the server that holds the log, for streams that are not the log's. It comes back by
// itself after an interruption, and is closed by [Log.Close] at the latest. On an outside server its user must be allowed what
// those streams need.
func (l *Log) Connect(ctx context.Context, name string) (*nats.Conn, error) {
	k, err := l.connect(ctx, name)
	if err != nil {
		return nil, err
	}
	l.submits.Lock()
	defer l.submits.Unlock()
	if l.closed {
		k.nc.Close()
		return nil, ErrClosed
	}
	l.others = append(l.others, k)
	return k.nc, nil
}

// Room returns [ErrLogFull] if n more bytes would use up the disk space that the embedded server keeps free: the log's
// reserve is for the log, whoever else stores in the same server. It knows nothing of an outside server's disk.
func (l *Log) Room(n int64) error {
	if l.server == nil {
		return nil
	}
	return l.server.space.take(n)
}
