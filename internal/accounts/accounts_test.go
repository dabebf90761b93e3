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
	a, err := Open(testContext(t), nc, Config{MaxUsers: maxUsers, MaxGroups: 4, MaxGroupsOfUser: 3, Invitations: manyInvitations})
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
		{app, "ann", strings.Repeat("x", maxPasswordBytes+1), ErrWrongPassword},
		{app, "Ann", "secret ann", ErrNotFound},
		{"acme#other", "ann", "secret ann", ErrNotFound},
	} {
		if err := a.Check(testContext(t), test.app, test.user, test.password); !errors.Is(err, test.want) {
			t.Errorf("%s %s with %.20q: %v, want %v", test.app, test.user, test.password, err, test.want)
		}
	}
	for _, password := range []string{"", strings.Repeat("x", maxPasswordBytes+1)} {
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
	a.hasher.free = 0 // nobody gets a turn
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if err := a.Check(ctx, app, "ann", "secret"); !errors.Is(err, ErrBusy) {
		t.Errorf("without a turn: %v", err)
	}
	if a.hasher.n != 0 || len(a.hasher.turns) != 0 || len(a.hasher.waiting) != 0 {
		t.Errorf("who gave up is still waiting: %d", a.hasher.n)
	}
	a.hasher.n = maxHashWaiting
	if err := a.hasher.enter(testContext(t), app); !errors.Is(err, ErrBusy) {
		t.Errorf("with too many waiting: %v", err)
	}
}

// An app with a thousand logins under way does not have another app wait for all of them.
func TestAppsTakeTurnsToHash(t *testing.T) {
	h := newHasher(nil)
	h.free = 0
	order := make(chan string, maxHashWaitingOfApp+1)
	enter := func(app string) {
		queued := h.queued()
		go func() {
			if h.enter(testContext(t), app) == nil {
				order <- app
			}
		}()
		for h.queued() == queued {
			time.Sleep(time.Millisecond)
		}
	}
	for range 100 {
		enter("busy")
	}
	enter("quiet")
	h.leave()
	h.leave()
	if first, second := <-order, <-order; first != "quiet" && second != "quiet" {
		t.Error("another app waits for a hundred logins")
	}
	for range 99 {
		h.leave()
	}
	for range 99 {
		<-order
	}
	h.waiting["busy"] = make([]chan struct{}, maxHashWaitingOfApp)
	ctx := testContext(t) // whose end would be told in the same way
	if err := h.enter(ctx, "busy"); !errors.Is(err, ErrBusy) || ctx.Err() != nil {
		t.Errorf("one app may have everybody wait: %v", err)
	}
}

func (h *hasher) queued() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

func TestHashesThatAskForTooMuch(t *testing.T) {
	a := openAccounts(t, connection(t), 10)
	for _, hash := range []string{
		"", "secret", "$argon2id$v=19$m=7168,t=5,p=1$c2FsdA", "$argon2i$v=19$m=7168,t=5,p=1$c2FsdA$c3Vt", "$argon2id$v=16$m=7168,t=5,p=1$c2FsdA$c3Vt",
		"$argon2id$v=19$m=7168,t=0,p=1$c2FsdA$c3Vt", "$argon2id$v=19$m=7168,t=5,p=0$c2FsdA$c3Vt", "$argon2id$v=19$m=4294967295,t=5,p=1$c2FsdA$c3Vt",
		"$argon2id$v=19$m=7168,t=4294967295,p=1$c2FsdA$c3Vt", "$argon2id$v=19$m=7168,t=5,p=1$c2FsdA$",
	} {
		if ok, err := a.hasher.matches(testContext(t), app, hash, "secret"); ok || !errors.Is(err, errBadHash) {
			t.Errorf("%q: %v, %v", hash, ok, err)
		}
	}
}

func TestGroupProfiles(t *testing.T) {
	a := openAccounts(t, connection(t), 10)
	want := GroupProfile{Name: "team", Public: true, MaxUsers: 7}
	if err := a.ClaimGroup(testContext(t), app, "ann", "g1", want); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Group(testContext(t), app, "g1"); p != want || err != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := a.Group(testContext(t), "acme#other", "g1"); p != (GroupProfile{}) || err != nil {
		t.Errorf("in another app: %+v, %v", p, err)
	}
	if err := a.DropGroup(testContext(t), app, "ann", "g1"); err != nil {
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
		a, err := Open(testContext(t), servers[k].JetStream().Conn(), Config{MaxUsers: 100, Replicas: 3, Invitations: manyInvitations})
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
	if err := a.ClaimGroup(testContext(t), app, "", "g", GroupProfile{Name: "team"}); err != nil {
		t.Fatal(err)
	}
	if g, err := b.Group(testContext(t), app, "g"); err != nil || g.Name != "team" {
		t.Errorf("%+v, %v", g, err)
	}
	if err := b.DropGroup(testContext(t), app, "ann", "g"); err != nil {
		t.Fatal(err)
	}
	if g, err := a.Group(testContext(t), app, "g"); err != nil || g != (GroupProfile{}) {
		t.Errorf("%+v, %v", g, err)
	}
	if err := a.Ban(testContext(t), app, "g", "ben"); err != nil {
		t.Fatal(err)
	}
	if banned, err := b.Banned(testContext(t), app, "g", "ben"); err != nil || !banned {
		t.Errorf("%v, %v", banned, err)
	}
	if err := a.Invite(testContext(t), app, Invitation{Group: "g", User: "cleo", Inviter: "ann"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if x, err := b.Invitation(testContext(t), app, "g", "cleo", time.Hour); err != nil || x.Inviter != "ann" {
		t.Errorf("%+v, %v", x, err)
	}
	if list, _, err := b.InvitationsOf(testContext(t), app, "cleo", "", 10, time.Hour); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := b.DropInvitation(testContext(t), app, "g", "cleo"); err != nil {
		t.Fatal(err)
	}
	if list, _, err := a.InvitationsInto(testContext(t), app, "g", "", 10, time.Hour); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if there, err := b.Has(testContext(t), app, "ann"); err != nil || !there {
		t.Errorf("%v, %v", there, err)
	}
	if m, err := direct.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("a replica was asked: %s %s", m.Subject, m.Data)
	}
}

// Groups are counted by their maker and by app, across restarts; those that are gone count
// no more.
func TestGroupsAreBounded(t *testing.T) {
	nc := connection(t)
	a := openAccounts(t, nc, 10)
	claim := func(user, group string, want error) {
		t.Helper()
		err := a.ClaimGroup(testContext(t), app, user, group, GroupProfile{})
		if !errors.Is(err, want) {
			t.Fatalf("%s makes %s: %v, want %v", user, group, err, want)
		}
	}
	for _, group := range []string{"1", "2", "3"} {
		claim("ann", group, nil)
	}
	claim("ann", "4", ErrTooManyGroups)
	a = openAccounts(t, nc, 10) // as after a restart
	claim("ann", "4", ErrTooManyGroups)
	claim("ben", "5", nil)
	claim("ben", "6", ErrTooManyGroups) // the app has four
	for range 2 {                       // what is gone is not counted twice
		if err := a.DropGroup(testContext(t), app, "ann", "1"); err != nil {
			t.Fatal(err)
		}
	}
	claim("ann", "7", nil)
	claim("ann", "8", ErrTooManyGroups)
	if err := a.ClaimGroup(testContext(t), "other#app", "ann", "1", GroupProfile{}); err != nil {
		t.Errorf("in another app: %v", err)
	}
}

// What was never stored of a user is no name that waits for a password, and no user without one;
// of a group, no profile.
func TestWhatWasNeverStoredIsRefused(t *testing.T) {
	a := openAccounts(t, connection(t), 100)
	ctx := testContext(t)
	for _, text := range []string{`null`, `{}`, `{"hash":""}`, `[]`} {
		if _, err := a.kv.PutString(ctx, userKey(app, "ann"), text); err != nil {
			t.Fatal(err)
		}
		if err := a.RegisterReserved(ctx, app, "ann", "password", ""); err == nil || errors.Is(err, ErrExists) {
			t.Errorf("%s: somebody may take the name: %v", text, err)
		}
		if err := a.Check(ctx, app, "ann", "password"); err == nil || errors.Is(err, ErrWrongPassword) {
			t.Errorf("%s: it has a password, or none that fits: %v", text, err)
		}
	}
	for _, text := range []string{`null`, `[]`} {
		if _, err := a.kv.PutString(ctx, groupKey(app, "g"), text); err != nil {
			t.Fatal(err)
		}
		if p, err := a.Group(ctx, app, "g"); err == nil {
			t.Errorf("%s is the profile %+v", text, p)
		}
	}
}
