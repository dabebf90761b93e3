// Package accounts keeps what the SDK's REST calls know of users and groups and the log does not:
// password hashes, and the names and rules of groups. All of it is in one JetStream key-value
// bucket, separate for each app. Users whose backend makes their tokens need no account.
package accounts

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/internal/leader"
)

const (
	bucket  = "receiptd_accounts"
	stream  = "KV_" + bucket
	timeout = 5 * time.Second

	// maxPasswordBytes bounds a password.
	maxPasswordBytes = 256
	// maxAccountBytes bounds an account as it is stored.
	maxAccountBytes = 4 << 10
)

var (
	// ErrExists: the app has a user of that name.
	ErrExists = errors.New("accounts: user already exists")
	// ErrNotFound: the app has no user of that name.
	ErrNotFound = errors.New("accounts: user not found")
	// ErrWrongPassword: the password is not the user's.
	ErrWrongPassword = errors.New("accounts: wrong password")
	// ErrFull: the app has as many users as it may have.
	ErrFull = errors.New("accounts: the app has the most users it may have")
	// ErrTooManyGroups: the user has made, or the app has, as many groups as may be.
	ErrTooManyGroups = errors.New("accounts: too many groups")
	// ErrBusy: too many passwords are being hashed.
	ErrBusy = errors.New("accounts: busy")
	// ErrBadPassword: the password is empty or longer than maxPasswordBytes.
	ErrBadPassword = errors.New("accounts: a password has 1 to 256 bytes")
	// ErrBucketConfig: the bucket exists with another configuration. Nothing is changed then.
	ErrBucketConfig = errors.New("accounts: bucket configuration differs")
)

// Config says what accounts may cost. All fields but Room and Registerer are required.
type Config struct {
	// MaxUsers bounds the users of an app, MaxGroups the groups that are made in it with the SDK,
	// and MaxGroupsOfUser those that one user made.
	MaxUsers, MaxGroups, MaxGroupsOfUser int
	// Invitations bounds those that wait for an answer.
	Invitations InvitationLimits
	// Replicas of the bucket in an outside cluster.
	Replicas int
	// Shared says that several processes keep these accounts.
	Shared bool
	// Room, if set, refuses n more bytes that the disk has no room for.
	Room       func(n int64) error
	Registerer prometheus.Registerer
}

// Accounts are all users of all apps. Its methods may be called from many goroutines.
type Accounts struct {
	cfg    Config
	nc     *nats.Conn
	kv     jetstream.KeyValue
	stream jetstream.Stream
	hasher *hasher

	mu     sync.Mutex
	counts map[string]*tally // by filter, once they were counted

	// inviting is held while an invitation is counted and stored, alone by whoever counts anew.
	inviting sync.RWMutex
}

// account is what is stored of a user.
type account struct {
	// Hash is empty for a name that is reserved: it has no password, and nobody can log in with it.
	Hash     string    `json:"hash"`
	Nickname string    `json:"nickname,omitempty"`
	Created  time.Time `json:"created"`
}

// parseAccount reads what is stored of a user. What was never stored is no account: without a hash
// it would be a name that waits for somebody to give it a password.
func parseAccount(text []byte) (x account, err error) {
	if err = json.Unmarshal(text, &x); err == nil && x.Created.IsZero() {
		err = errors.New("what is stored of the user is no account")
	}
	return x, err
}

// Open finds or makes the bucket. The connection is the caller's.
func Open(ctx context.Context, nc *nats.Conn, cfg Config) (*Accounts, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	kv, err := js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "receiptd: users and password hashes", History: 1, Storage: jetstream.FileStorage,
			Replicas: max(cfg.Replicas, 1), MaxValueSize: maxAccountBytes,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // another process was faster
			kv, err = js.KeyValue(ctx, bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("accounts: bucket %s: %w", bucket, err)
	}
	keys, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("accounts: bucket %s: %w", bucket, err)
	}
	have := keys.CachedInfo().Config
	for field, problem := range map[string]bool{
		"storage":      have.Storage != jetstream.FileStorage,
		"max_age":      have.MaxAge != 0, // users would vanish
		"discard":      have.Discard != jetstream.DiscardNew,
		"num_replicas": have.Replicas < cfg.Replicas,
	} {
		if problem {
			return nil, fmt.Errorf("%w: bucket %s: %s", ErrBucketConfig, bucket, field)
		}
	}
	return &Accounts{cfg: cfg, nc: nc, kv: kv, stream: keys, hasher: newHasher(cfg.Registerer), counts: make(map[string]*tally)}, nil
}

// record is what the bucket has under a key, and since when by the broker's clock.
type record struct {
	value    []byte
	revision uint64
	at       time.Time
}

// get looks a key up. The error is [jetstream.ErrKeyNotFound] if there is none. In a replicated
// bucket it is the leader that answers: a replica that lags does not know a user whom another node
// has just registered.
func (a *Accounts) get(ctx context.Context, key string) (record, error) {
	if a.cfg.Replicas <= 1 {
		e, err := a.kv.Get(ctx, key)
		if err != nil {
			return record{}, err
		}
		return record{e.Value(), e.Revision(), e.Created()}, nil
	}
	m, err := leader.Last(ctx, a.nc, stream, subject(key))
	if errors.Is(err, leader.ErrNotFound) || err == nil && m.Header.Get("KV-Operation") != "" {
		return record{}, jetstream.ErrKeyNotFound
	}
	return record{m.Data, m.Sequence, m.Time}, err
}

// subject is where the bucket's stream has the values of a key, or of the keys that match a filter.
func subject(key string) string { return "$KV." + bucket + "." + key }

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// Keys of the bucket, each with the filter of those that are counted, or removed, together: the
// users of an app, its groups, those that one user made, and what is kept of users who are not in a
// group.
func userKey(app, user string) string        { return key("users", app, user) }
func usersOf(app string) string              { return key("users", app) + ".*" }
func groupKey(app, group string) string      { return key("groups", app, group) }
func groupsOf(app string) string             { return key("groups", app) + ".*" }
func madeKey(app, user, group string) string { return key("made", app, user, group) }
func madeBy(app, user string) string         { return key("made", app, user) + ".*" }

// banKey names an [Accounts.Ban]; its first part is what an earlier version called it.
func banKey(app, group, user string) string { return key("marks", app, group, user) }
func bansOf(app, group string) string       { return key("marks", app, group) + ".*" }

func key(kind string, names ...string) string {
	for _, name := range names {
		kind += "." + encode(name)
	}
	return kind
}

// Register makes a user. The errors are [ErrExists], also for a name that is reserved, [ErrFull],
// [ErrBusy], [ErrBadPassword] and those of the store.
func (a *Accounts) Register(ctx context.Context, app, user, password, nickname string) error {
	return a.register(ctx, app, user, password, nickname, false)
}

// RegisterReserved is Register for those who may give a password to a reserved name.
func (a *Accounts) RegisterReserved(ctx context.Context, app, user, password, nickname string) error {
	return a.register(ctx, app, user, password, nickname, true)
}

// Reserve keeps a name from being registered by [Accounts.Register]. It changes nothing if there is
// a user of that name already, or if the app is full, so that nobody can register at all.
func (a *Accounts) Reserve(ctx context.Context, app, user string) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if _, err := a.get(ctx, userKey(app, user)); !errors.Is(err, jetstream.ErrKeyNotFound) {
		return wrap("reserve", err)
	}
	if err := a.room("reserve"); err != nil {
		return err
	}
	done, err := a.reserve(ctx, usersOf(app), a.cfg.MaxUsers, ErrFull)
	switch {
	case errors.Is(err, ErrFull):
		return nil
	case err != nil:
		return err
	}
	err = a.put(ctx, userKey(app, user), account{Created: time.Now().UTC().Truncate(time.Second)}, 0)
	done(err == nil)
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

func wrap(step string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("accounts: %s: %w", step, err)
}

func (a *Accounts) room(step string) error {
	if a.cfg.Room == nil {
		return nil
	}
	return wrap(step, a.cfg.Room(maxAccountBytes))
}

func (a *Accounts) register(ctx context.Context, app, user, password, nickname string, reserved bool) error {
	if password == "" || len(password) > maxPasswordBytes {
		return ErrBadPassword
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Checked before the costly part, and again by put in the end.
	revision, err := a.free(ctx, app, user, reserved)
	if err != nil {
		return err
	}
	if err := a.room("register"); err != nil {
		return err
	}
	done := func(bool) {} // a name that was reserved is counted
	if revision == 0 {
		if done, err = a.reserve(ctx, usersOf(app), a.cfg.MaxUsers, ErrFull); err != nil {
			return err
		}
	}
	hash, err := a.hasher.hash(ctx, app, password)
	if err == nil {
		err = a.put(ctx, userKey(app, user), account{hash, nickname, time.Now().UTC().Truncate(time.Second)}, revision)
	}
	done(err == nil)
	return err
}

// free returns the revision that a new account takes the place of: that of a reserved name, or 0.
func (a *Accounts) free(ctx context.Context, app, user string, reserved bool) (revision uint64, err error) {
	found, err := a.get(ctx, userKey(app, user))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, nil
	case err != nil:
		return 0, wrap("register", err)
	}
	stored, err := parseAccount(found.value)
	if err != nil {
		return 0, wrap("register", err)
	}
	if stored.Hash != "" || !reserved {
		return 0, ErrExists
	}
	return found.revision, nil
}

// put stores an account in the place of a revision, 0 for none. The error is [ErrExists] if there
// is another one by now.
func (a *Accounts) put(ctx context.Context, key string, x account, revision uint64) error {
	value, err := json.Marshal(x)
	if err != nil {
		return wrap("register", err)
	}
	// Create also takes the place of a deleted key, whose revision Update would have to know.
	if revision == 0 {
		_, err = a.kv.Create(ctx, key, value)
	} else {
		_, err = a.kv.Update(ctx, key, value, revision)
	}
	if errors.Is(err, jetstream.ErrKeyExists) {
		return ErrExists
	}
	return wrap("register", err)
}

// Has reports whether there is an account, or a reserved name.
func (a *Accounts) Has(ctx context.Context, app, user string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := a.get(ctx, userKey(app, user))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, wrap("look up", err)
}

// Check returns nil if the password is the user's. The errors are [ErrNotFound],
// [ErrWrongPassword], [ErrBusy] and those of the store. An unknown user takes as long as a wrong
// password.
func (a *Accounts) Check(ctx context.Context, app, user, password string) error {
	if password == "" || len(password) > maxPasswordBytes {
		return ErrWrongPassword
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := a.get(ctx, userKey(app, user))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		if _, err := a.hasher.matches(ctx, app, nobody, password); err != nil {
			return err
		}
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("accounts: check: %w", err)
	}
	stored, err := parseAccount(found.value)
	if err != nil {
		return fmt.Errorf("accounts: check: %w", err)
	}
	if stored.Hash == "" {
		stored.Hash = nobody
	}
	ok, err := a.hasher.matches(ctx, app, stored.Hash, password)
	if err != nil {
		return err
	}
	if !ok {
		return ErrWrongPassword
	}
	return nil
}
