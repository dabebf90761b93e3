package accounts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/lab/natstest"
)

const app = "acme#chat"

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func connection(t testing.TB) *nats.Conn {
	t.Helper()
	log := natstest.OpenLog(t, eventlog.Config{Dir: t.TempDir(), Partitions: 1, Fsync: eventlog.FsyncInterval})
	nc, err := log.Connect(testContext(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

func openAccounts(t testing.TB, nc *nats.Conn, maxUsers int) *Accounts {
	t.Helper()
	a, err := Open(testContext(t), nc, Config{MaxUsers: maxUsers})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPasswords(t *testing.T) {
	nc := connection(t)
	a := openAccounts(t, nc, 100)
	for _, user := range []string{"ann", "ünïcode", "a.b*c>d", strings.Repeat("x", 128)} {
		if err := a.Register(testContext(t), app, user, "secret "+user, ""); err != nil {
			t.Fatalf("register %s: %v", user, err)
		}
		if err := a.Register(testContext(t), app, user, "other", ""); !errors.Is(err, ErrExists) {
			t.Errorf("register %s again: %v", user, err)
		}
	}
	a = openAccounts(t, nc, 100) // as after a restart
	for _, test := range []struct {
		app, user, password string
		want                error
	}{
		{app, "ann", "secret ann", nil},
		{app, "a.b*c>d", "secret a.b*c>d", nil},
		{app, "ann", "Secret ann", ErrWrongPassword},
		{app, "ann", "", ErrWrongPassword},
		{app, "ann", strings.Repeat("x", MaxPasswordBytes+1), ErrWrongPassword},
		{app, "Ann", "secret ann", ErrNotFound},
		{"acme#other", "ann", "secret ann", ErrNotFound},
	} {
		if err := a.Check(testContext(t), test.app, test.user, test.password); !errors.Is(err, test.want) {
			t.Errorf("%s %s with %.20q: %v, want %v", test.app, test.user, test.password, err, test.want)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", MaxPasswordBytes+1)} {
		if err := a.Register(testContext(t), app, "new", password, ""); !errors.Is(err, ErrBadPassword) {
			t.Errorf("register with a password of %d bytes: %v", len(password), err)
		}
	}
	entry, err := a.kv.Get(testContext(t), userKey(app, "ann"))
	if err != nil || strings.Contains(string(entry.Value()), "secret") || !strings.Contains(string(entry.Value()), "$argon2id$v=19$m=7168,t=5,p=1$") {
		t.Errorf("stored %s, %v", entry.Value(), err)
	}
}

func TestUsersAreBounded(t *testing.T) {
	nc := connection(t)
	a := openAccounts(t, nc, 3)
	var registered sync.WaitGroup
	var mu sync.Mutex
	results := map[bool]int{}
	for i := range 6 {
		registered.Go(func() {
			err := a.Register(testContext(t), app, fmt.Sprint("user", i), "secret", "")
			mu.Lock()
			defer mu.Unlock()
			results[err == nil]++
			if err != nil && !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		})
	}
	registered.Wait()
	if results[true] != 3 {
		t.Errorf("%d users of 3", results[true])
	}
	if err := openAccounts(t, nc, 3).Register(testContext(t), app, "late", "secret", ""); !errors.Is(err, ErrFull) {
		t.Errorf("after a restart: %v", err)
	}
	if err := a.Register(testContext(t), "acme#other", "late", "secret", ""); err != nil {
		t.Errorf("in another app: %v", err)
	}
}

func TestHashingIsBounded(t *testing.T) {
	a := openAccounts(t, connection(t), 10)
	for range cap(a.hasher.turn) { // nobody gets a turn
		a.hasher.turn <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if err := a.Check(ctx, app, "ann", "secret"); !errors.Is(err, ErrBusy) {
		t.Errorf("without a turn: %v", err)
	}
	for range cap(a.hasher.waiting) {
		a.hasher.waiting <- struct{}{}
	}
	if err := a.hasher.enter(testContext(t)); !errors.Is(err, ErrBusy) {
		t.Errorf("with too many waiting: %v", err)
	}
}

func TestHashesThatAskForTooMuch(t *testing.T) {
	a := openAccounts(t, connection(t), 10)
	for _, hash := range []string{
		"", "secret", "$argon2id$v=19$m=7168,t=5,p=1$c2FsdA", "$argon2i$v=19$m=7168,t=5,p=1$c2FsdA$c3Vt", "$argon2id$v=16$m=7168,t=5,p=1$c2FsdA$c3Vt",
		"$argon2id$v=19$m=7168,t=0,p=1$c2FsdA$c3Vt", "$argon2id$v=19$m=7168,t=5,p=0$c2FsdA$c3Vt", "$argon2id$v=19$m=4294967295,t=5,p=1$c2FsdA$c3Vt",
		"$argon2id$v=19$m=7168,t=4294967295,p=1$c2FsdA$c3Vt", "$argon2id$v=19$m=7168,t=5,p=1$c2FsdA$",
	} {
		if ok, err := a.hasher.matches(testContext(t), hash, "secret"); ok || !errors.Is(err, errBadHash) {
			t.Errorf("%q: %v, %v", hash, ok, err)
		}
	}
}

func TestGroupProfiles(t *testing.T) {
	a := openAccounts(t, connection(t), 10)
	want := GroupProfile{Name: "team", Public: true, MaxUsers: 7}
	if err := a.PutGroup(testContext(t), app, "g1", want); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Group(testContext(t), app, "g1"); p != want || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := a.Group(testContext(t), "acme#other", "g1"); p != (GroupProfile{}) || err != nil {
		t.Errorf("in another app: %+v, %v", p, err)
	}
	if err := a.DropGroup(testContext(t), app, "g1"); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Group(testContext(t), app, "g1"); p != (GroupProfile{}) || err != nil {
		t.Errorf("after it was dropped: %+v, %v", p, err)
	}
}

func TestABucketOfAnotherConfigurationIsRefused(t *testing.T) {
	nc := connection(t)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateKeyValue(testContext(t), jetstream.KeyValueConfig{Bucket: bucket, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), nc, Config{MaxUsers: 1}); !errors.Is(err, ErrBucketConfig) {
		t.Errorf("opened with %v", err)
	}
}

// A user whom one node has registered can log in at another one at once: the leader is asked, and
// not a replica that may lag.
func TestAccountsAreReadFromTheLeader(t *testing.T) {
	t.Parallel()
	servers := natstest.StartCluster(t, 3)
	open := func(k int) *Accounts {
		a, err := Open(testContext(t), servers[k].JetStream().Conn(), Config{MaxUsers: 100, Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b := open(0), open(1)
	direct, err := servers[2].JetStream().Conn().SubscribeSync("$JS.API.DIRECT.GET.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := servers[2].JetStream().Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if err := a.Register(testContext(t), app, "ann", "secret", ""); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(testContext(t), app, "ann", "secret"); err != nil {
		t.Error(err)
	}
	if err := a.PutGroup(testContext(t), app, "g", GroupProfile{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	if g, err := b.Group(testContext(t), app, "g"); err != nil || g.Name != "team" {
		t.Errorf("%+v, %v", g, err)
	}
	if err := b.DropGroup(testContext(t), app, "g"); err != nil {
		t.Fatal(err)
	}
	if g, err := a.Group(testContext(t), app, "g"); err != nil || g != (GroupProfile{}) {
		t.Errorf("%+v, %v", g, err)
	}
	if m, err := direct.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a replica was asked: %s %s", m.Subject, m.Data)
	}
}
