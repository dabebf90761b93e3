package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/bench/child"
	"github.com/receiptd/receiptd/internal/lab/bench/measure"
	"github.com/receiptd/receiptd/internal/lab/sim"
)

// cache keeps receipts in Redis: a stream as the log, and for each message the set of its readers,
// whose size is the count. All of it is in memory; the append-only file is what is read after a
// crash.
type cache struct {
	// fsync is Redis's appendfsync: always, before the answer, or everysec.
	fsync       string
	connections int

	server child.Process
	client *redis.Client
	data   string
}

// Start starts a server with fresh data.
func (c *cache) Start(ctx context.Context, dir string, _ *sim.Traffic) error {
	binary, err := find("redis-server", "redis-server", "/usr/bin", "/usr/local/bin")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	c.data = filepath.Join(dir, "redis")
	if err := os.Mkdir(c.data, 0o700); err != nil {
		return err
	}
	secret := password()
	// The settings come on standard input, so that nobody sees the password.
	cmd := exec.Command(binary, "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(
		"bind 127.0.0.1\nport %d\nrequirepass %s\ndir %s\nsave \"\"\nappendonly yes\nappendfsync %s\n", port, secret, c.data, c.fsync))
	if err := c.server.Start(cmd, filepath.Join(dir, "redis.log")); err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	// The client writes to standard error if it cannot connect.
	if err := c.server.Ready(ctx, listening(address)); err != nil {
		return err
	}
	c.client = redis.NewClient(&redis.Options{
		Addr: address, Password: secret, PoolSize: c.connections, MaxRetries: -1,
	})
	return c.server.Ready(ctx, func(ctx context.Context) error { return c.client.Ping(ctx).Err() })
}

const receiptStream = "receipts"

// Load sends the commands of all events in one round trip. They are not a transaction: all of them
// may be sent again.
func (c *cache) Load(ctx context.Context, evs []events.Event) error {
	pipe := c.client.Pipeline()
	for i := range evs {
		e := &evs[i]
		switch e.Kind {
		case events.MessageSent:
			pipe.HSet(ctx, "m:"+e.Message, "from", e.User, "in", conversation(e))
		case events.MessageRead:
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: receiptStream, Values: []string{"m", e.Message, "r", e.User}})
			pipe.SAdd(ctx, "r:"+e.Message, e.User)
		case events.MessageDelivered:
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: receiptStream, Values: []string{"m", e.Message, "d", e.User}})
			pipe.SAdd(ctx, "d:"+e.Message, e.User)
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Counts are the sizes of the sets.
func (c *cache) Counts(ctx context.Context, _ string, messages []string) (map[string]int, error) {
	pipe := c.client.Pipeline()
	sizes := make([]*redis.IntCmd, len(messages))
	for i, id := range messages {
		sizes[i] = pipe.SCard(ctx, "r:"+id)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(messages))
	for i, id := range messages {
		counts[id] = int(sizes[i].Val())
	}
	return counts, nil
}

// CPU counts the server.
func (c *cache) CPU() (float64, error) { return c.server.CPU() }

// Bytes counts the append-only file, in whatever state Redis has rewritten it by itself.
func (c *cache) Bytes(context.Context) (float64, error) { return measure.DiskBytes(c.data) }

// Stop ends the server. Nothing is saved: the data is discarded.
func (c *cache) Stop() error {
	if c.client != nil {
		_ = c.client.Close() // the server is about to go
		c.client = nil
	}
	return c.server.Stop(syscall.SIGTERM)
}
