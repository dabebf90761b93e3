package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/leader"
)

var (
	// ErrNotFound: the bucket has no such key.
	ErrNotFound = errors.New("cluster: no such key")
	// ErrConflict: the key is not at the revision that was expected. Whoever changed it was first.
	ErrConflict = errors.New("cluster: another node was first")
)

// requestTimeout bounds one request to a bucket.
const requestTimeout = 5 * time.Second

// Bucket is a key-value bucket that all nodes share. Its methods may be called from many
// goroutines. A get is answered by the leader, and a change is made on the condition of the
// revision that was read: of two nodes that change a key at a time, one is told [ErrConflict].
type Bucket struct {
	nc     *nats.Conn
	kv     jetstream.KeyValue
	name   string
	stream string
}

// OpenBucket finds a bucket, or makes it. What is put into it leaves after a time; 0 = never.
func OpenBucket(ctx context.Context, nc *nats.Conn, name string, replicas int, age time.Duration) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	kv, err := js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, Description: "receiptd: what its nodes share", History: 1, Storage: jetstream.FileStorage, Replicas: max(replicas, 1), TTL: age,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // by another node, just now
			kv, err = js.KeyValue(ctx, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: bucket %s: %w", name, err)
	}
	return &Bucket{nc: nc, kv: kv, name: name, stream: "KV_" + name}, nil
}

// FindBucket finds a bucket. The error is [ErrNotFound] if there is none of that name.
func FindBucket(ctx context.Context, nc *nats.Conn, name string) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	kv, err := js.KeyValue(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrBucketNotFound):
		return nil, fmt.Errorf("%w: bucket %s", ErrNotFound, name)
	case err != nil:
		return nil, fmt.Errorf("cluster: bucket %s: %w", name, err)
	}
	return &Bucket{nc: nc, kv: kv, name: name, stream: "KV_" + name}, nil
}

// Get returns the value of a key and its revision. The error is [ErrNotFound] if there is none.
func (b *Bucket) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m, err := leader.Last(ctx, b.nc, b.stream, "$KV."+b.name+"."+key)
	switch {
	case errors.Is(err, leader.ErrNotFound):
		return nil, 0, ErrNotFound
	case err != nil:
		return nil, 0, fmt.Errorf("cluster: get %s: %w", key, err)
	case m.Header.Get("KV-Operation") != "": // deleted
		return nil, m.Sequence, ErrNotFound
	}
	return m.Data, m.Sequence, nil
}

// Create puts a key that is not there. The error is [ErrConflict] if it is.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	revision, err = b.kv.Create(ctx, key, value)
	return revision, b.changed("create", key, err)
}

// Update changes a key that is at a revision. The error is [ErrConflict] if it is not.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	revision, err := b.kv.Update(ctx, key, value, revision)
	return revision, b.changed("update", key, err)
}

// Put sets a key that only its node changes.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := b.kv.Put(ctx, key, value)
	return b.changed("put", key, err)
}

// Delete removes a key; one that is not there, too.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return b.changed("delete", key, b.kv.Purge(ctx, key))
}

// Keys returns the keys that begin with a prefix of whole tokens, such as "floor.", with their
// values.
func (b *Bucket) Keys(ctx context.Context, prefix string) (values map[string][]byte, err error) {
	values = map[string][]byte{}
	err = b.each(ctx, prefix, func(key string, m *leader.Message) { values[key] = m.Data })
	return values, err
}

// putTimes returns the keys that begin with a prefix of whole tokens, with when each was put last.
func (b *Bucket) putTimes(ctx context.Context, prefix string) (times map[string]time.Time, err error) {
	times = map[string]time.Time{}
	err = b.each(ctx, prefix, func(key string, m *leader.Message) { times[key] = m.Time })
	return times, err
}

func (b *Bucket) each(ctx context.Context, prefix string, f func(key string, m *leader.Message)) error {
	for from := uint64(1); ; {
		m, err := b.next(ctx, from, prefix)
		switch {
		case errors.Is(err, leader.ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("cluster: list %s: %w", prefix, err)
		}
		if m.Header.Get("KV-Operation") == "" {
			f(m.Subject[len("$KV."+b.name+"."):], &m)
		}
		from = m.Sequence + 1
	}
}

func (b *Bucket) next(ctx context.Context, from uint64, prefix string) (leader.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return leader.Next(ctx, b.nc, b.stream, from, "$KV."+b.name+"."+prefix+">")
}

// Codes of JetStream for a key that is not at the expected revision; the second one comes from a
// replicated stream in which another change of the key is under way.
const (
	codeWrongLastSequence   = 10071
	codeWrongLastReplicated = 10164
)

func (b *Bucket) changed(step, key string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); errors.Is(err, jetstream.ErrKeyExists) ||
		ok && (e.ErrorCode == codeWrongLastSequence || e.ErrorCode == codeWrongLastReplicated) {
		return fmt.Errorf("%w: %s", ErrConflict, key)
	}
	return fmt.Errorf("cluster: %s %s: %w", step, key, err)
}

// Share returns the value of a key that all nodes have to agree on: the one that is there, or mine,
// which is put there then.
func (b *Bucket) Share(ctx context.Context, key string, mine func() ([]byte, error)) ([]byte, error) {
	for {
		value, _, err := b.Get(ctx, key)
		if !errors.Is(err, ErrNotFound) {
			return value, err
		}
		if value, err = mine(); err != nil {
			return nil, err
		}
		if _, err = b.Create(ctx, key, value); !errors.Is(err, ErrConflict) {
			return value, err
		}
	}
}
