package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// BucketName names the object store, and the bucket of the notes about it.
const BucketName = "receiptd_snapshots"

const (
	// chunkBytes is what a message of an object has. Each is synced for itself.
	chunkBytes = 512 << 10
	// A get that is slower than slowest, in bytes a second, is given up: of chunks that are gone
	// where it is read from, nothing ever comes.
	getTimeout = 15 * time.Second
	slowest    = 256 << 10
	// getTries is how often an object is read before it counts as damaged: a replica that lags has
	// less of it than was acknowledged.
	getTries = 3
	getPause = 500 * time.Millisecond
)

// Bucket is an object store. Its methods may be called from many goroutines.
type Bucket struct {
	js     jetstream.JetStream
	store  jetstream.ObjectStore
	stream string
	name   string
}

// OpenBucket finds the object store. If there is none it is made, with so many replicas; replicas 0
// makes none, and the error is [jetstream.ErrBucketNotFound].
func OpenBucket(ctx context.Context, nc *nats.Conn, replicas int) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	b := &Bucket{js: js, name: BucketName, stream: "OBJ_" + BucketName}
	b.store, err = js.ObjectStore(ctx, BucketName)
	if errors.Is(err, jetstream.ErrBucketNotFound) && replicas > 0 {
		b.store, err = js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: BucketName, Description: "receiptd: snapshots of the state", Storage: jetstream.FileStorage, Replicas: replicas,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // made by another node, just now
			b.store, err = js.ObjectStore(ctx, BucketName)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot: object store %s: %w", BucketName, err)
	}
	return b, nil
}

// put stores an object and returns what names its chunks.
func (b *Bucket) put(ctx context.Context, name string, r io.Reader) (nuid string, err error) {
	info, err := b.store.Put(ctx, jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkBytes}}, r)
	if err != nil {
		return "", fmt.Errorf("snapshot: put %s: %w", name, err)
	}
	return info.NUID, nil
}

// get writes an object that a file of a snapshot is in to w, which begin makes empty for each try.
// The error is errDamaged if the object is another one, in part or not there.
func (b *Bucket) get(ctx context.Context, f *File, begin func() (io.Writer, error)) (err error) {
	for try := range getTries {
		if try > 0 {
			select {
			case <-time.After(getPause):
			case <-ctx.Done():
			}
		}
		w, e := begin()
		if e != nil {
			return e
		}
		into := &target{w: w, hash: sha256.New()}
		err = b.getOnce(ctx, f, into)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case into.err != nil: // no fault of the object
			return into.err
		case err == nil && into.size == f.Size && hex.EncodeToString(into.hash.Sum(nil)) == f.SHA256:
			return nil
		case err == nil:
			err = fmt.Errorf("%d bytes of another hash", into.size)
		}
	}
	return fmt.Errorf("%w: object %s: %w", errDamaged, f.Object, err)
}

func (b *Bucket) getOnce(ctx context.Context, f *File, into *target) error {
	ctx, cancel := context.WithTimeout(ctx, getTimeout+time.Duration(f.Size/slowest)*time.Second)
	defer cancel()
	if err := b.whole(ctx, f.Object); err != nil {
		return err
	}
	r, err := b.store.Get(ctx, f.Object)
	if err != nil {
		return err
	}
	_, err = io.Copy(into, r)
	return errors.Join(err, r.Close())
}

// whole returns an error for an object that lacks chunks: whoever reads it would wait for them.
func (b *Bucket) whole(ctx context.Context, object string) error {
	o, err := b.store.GetInfo(ctx, object)
	if err != nil {
		return err
	}
	stream, err := b.js.Stream(ctx, b.stream)
	if err != nil {
		return err
	}
	chunks := "$O." + b.name + ".C." + o.NUID
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(chunks))
	if err != nil {
		return err
	}
	if have := info.State.Subjects[chunks]; have < uint64(o.Chunks) {
		return fmt.Errorf("%d of its %d chunks are there", have, o.Chunks)
	}
	return nil
}

// target takes an object, and tells its own failures from those of the object.
type target struct {
	w    io.Writer
	hash hash.Hash
	size int64
	err  error
}

// Write implements [io.Writer].
func (t *target) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	_, _ = t.hash.Write(p[:n]) // never fails
	t.size += int64(n)
	t.err = err
	return n, err
}

// leftovers returns the subjects in the object store of what is in none of the files.
func (b *Bucket) leftovers(ctx context.Context, files []File) ([]string, error) {
	ours := map[string]bool{}
	for i := range files {
		f := &files[i]
		ours["$O."+b.name+".M."+base64.URLEncoding.EncodeToString([]byte(f.Object))] = true
		ours["$O."+b.name+".C."+f.NUID] = true
	}
	stream, err := b.js.Stream(ctx, b.stream)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter("$O."+b.name+".>"))
	if err != nil {
		return nil, fmt.Errorf("snapshot: list objects: %w", err)
	}
	var list []string
	for subject := range info.State.Subjects {
		if !ours[subject] && strings.HasPrefix(subject, "$O."+b.name+".") {
			list = append(list, subject)
		}
	}
	slices.Sort(list)
	return list, nil
}

// remove removes what has a subject.
func (b *Bucket) remove(ctx context.Context, subject string) error {
	stream, err := b.js.Stream(ctx, b.stream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
	if err != nil {
		return fmt.Errorf("snapshot: remove what is not kept: %w", err)
	}
	return nil
}
