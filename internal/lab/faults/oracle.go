package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// accountsApp is the app whose users have passwords.
const accountsApp = "o#chat"

// oracle is what a server with certain data must answer.
type oracle struct {
	app     string
	readers map[string][]string // of each message, sorted
	users   []string            // of accountsApp, with passwords made of their names
	token   string              // of one of them
	letters map[string]*letters // to each of them
}

func password(user string) string { return "secret-" + user }

// oracle takes what the books of a life say now.
func (l *life) oracle() *oracle {
	o := &oracle{app: l.app, readers: map[string][]string{}}
	for _, c := range l.clients {
		c.generator.Readers(func(_, _, message string, readers []string) {
			o.readers[message] = slices.Sorted(slices.Values(readers))
		})
	}
	return o
}

// register makes the users with passwords.
func (o *oracle) register(ctx context.Context, s *server, users int) error {
	if err := s.call(ctx, "PUT", appPath(accountsApp), map[string]any{"open_registration": true}, nil); err != nil {
		return err
	}
	for i := range users {
		user := fmt.Sprint("user", i)
		if err := s.call(ctx, "POST", "/o/chat/users", map[string]string{"username": user, "password": password(user)}, nil); err != nil {
			return err
		}
		o.users = append(o.users, user)
	}
	var answer struct{ Token string }
	err := s.call(ctx, "POST", appPath(accountsApp)+"/users/user0/tokens", struct{}{}, &answer)
	o.token = answer.Token
	return err
}

// sampled is how many messages have their readers compared, beside all counts.
const sampled = 25

// compare asks for everything. With lossy, what is missing is counted instead of being an error;
// anything else than a part of the truth is one still.
func (o *oracle) compare(ctx context.Context, s *server, lossy bool) (missing int, err error) {
	if err := s.caughtUp(ctx); err != nil {
		return 0, err
	}
	ids := slices.Sorted(maps.Keys(o.readers))
	got, err := s.counts(ctx, o.app, ids)
	if status := (*statusError)(nil); errors.As(err, &status) && status.status == http.StatusNotFound && lossy {
		got, err = nil, nil // the app itself is lost
	}
	if err != nil {
		return 0, err
	}
	for i, id := range ids {
		n, known := got[id]
		want := o.readers[id]
		switch {
		case known && n == len(want):
		case n > len(want):
			return 0, fmt.Errorf("WRONG: message %s has %d readers, want %d", id, n, len(want))
		case !lossy:
			return 0, fmt.Errorf("WRONG: message %s: known %v, %d readers, want %d", id, known, n, len(want))
		default:
			missing++
		}
		if !known || i%max(len(ids)/sampled, 1) != 0 {
			continue
		}
		var answer struct{ Readers []struct{ User string } }
		if err := s.call(ctx, "GET", appPath(o.app)+"/messages/"+url.PathEscape(id)+"/readers?limit=1000", nil, &answer); err != nil {
			return 0, err
		}
		if len(answer.Readers) != n {
			return 0, fmt.Errorf("WRONG: message %s counts %d readers and lists %d", id, n, len(answer.Readers))
		}
		for _, r := range answer.Readers {
			if _, is := slices.BinarySearch(want, r.User); !is {
				return 0, fmt.Errorf("WRONG: message %s was not read by %s", id, r.User)
			}
		}
	}
	return missing, nil
}

// logins checks that every user may log in with their password and nobody may register again. With
// lossy, a user may be gone.
func (o *oracle) logins(ctx context.Context, s *server, lossy bool) (missing int, err error) {
	for _, user := range o.users {
		login := map[string]string{"grant_type": "password", "username": user, "password": password(user)}
		err := s.call(ctx, "POST", "/o/chat/token", login, nil)
		if err == nil {
			continue
		}
		if status := (*statusError)(nil); lossy && errors.As(err, &status) && status.status < 500 {
			missing++
			continue
		}
		return 0, fmt.Errorf("WRONG: %s cannot log in: %w", user, err)
	}
	return missing, nil
}

// template is data that damage is done to copies of, and what a server on it answers.
type template struct {
	killed, stopped string // directories: after kill -9, after a clean stop
	older           string // the same server's data some time earlier
	oracle          *oracle
}

// makeTemplate makes the data, once. How much there is of it depends on the seed.
func (l *lab) makeTemplate(ctx context.Context) (*template, error) {
	if l.template != nil {
		return l.template, nil
	}
	t := &trial{lab: l, dir: l.dir}
	root := filepath.Join(l.dir, "template")
	x := &template{killed: filepath.Join(root, "killed"), stopped: filepath.Join(root, "stopped"), older: filepath.Join(root, "older")}
	tables := filepath.Join(root, "tables")
	s := t.newServer(filepath.Join(root, "data"), "--checkpoint-interval=300ms")
	if err := s.fill(tables); err != nil {
		return nil, err
	}
	defer s.sink.Kill()
	defer s.kill()
	life, err := newLife(l.Seed, 2)
	if err != nil {
		return nil, err
	}
	users := &oracle{letters: map[string]*letters{}}
	var kept map[int]uint64 // where the sink's state stood last
	keepSinkState := func() (err error) {
		kept, err = s.keepSinkState(ctx, kept)
		return err
	}
	steps := []func() error{
		func() error { return s.start(ctx) },
		func() error { return life.prepare(ctx, s) },
		func() error { return users.register(ctx, s, 6) },
		func() error { return life.send(ctx, s, 15) },
		func() error { return users.correspond(ctx, s, 6) },
		func() error { return errors.Join(users.take(ctx, s, "user0"), users.take(ctx, s, "user1")) },
		s.stop,
		func() error { return splitBlocks(s.data) },
		func() error { return s.start(ctx) },
		func() error { return life.send(ctx, s, 1) },
		keepSinkState,
		func() error { return lessBlocks(s.data, "RECEIPTS_0", "KV_receiptd_accounts", "RECEIPTD_INBOX_APP_*") },
		func() error { return os.CopyFS(x.older, os.DirFS(s.data)) },
		func() error { return s.start(ctx) },
		func() error { return life.send(ctx, s, 25) },
		func() error { return users.correspond(ctx, s, 3) },
		func() error { return users.take(ctx, s, "user0") },
		func() error { return life.exact(ctx, s) },
		keepSinkState,
		func() error { return s.start(ctx) },
		func() error { return life.oracle().filled(ctx, s) },
		func() error { return s.interrupt(func() error { return life.send(ctx, s, 2) }) },
		func() error { return os.CopyFS(x.killed, os.DirFS(s.data)) },
		func() error { return s.keepTables(tables, tablesOf(x.killed)) },
		func() error { return s.start(ctx) },
		func() error { return life.oracle().filled(ctx, s) },
		s.stop,
		func() error { return os.CopyFS(x.stopped, os.DirFS(s.data)) },
		func() error { return s.keepTables(tables, tablesOf(x.stopped)) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return nil, fmt.Errorf("make the data, step %d: %w", i, err)
		}
	}
	x.oracle = life.oracle()
	x.oracle.users, x.oracle.token, x.oracle.letters = users.users, users.token, users.letters
	l.template = x
	return x, nil
}

// finding is one of receiptctl doctor's.
type finding struct {
	Code, Stream, File, What, Do string
	Fatal                        bool
}

// examine runs the doctor on a stopped server's data.
func (s *server) examine(ctx context.Context) (fatal []finding, err error) {
	out, code, err := s.ctl(ctx, "doctor", "--json", "--data", s.data)
	if err != nil {
		return nil, err
	}
	var x struct {
		Healthy  bool
		Findings []finding
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&x); err != nil {
		return nil, fmt.Errorf("the doctor cannot look at the data: exit %d: %s", code, out)
	}
	if x.Healthy != (code == 0) {
		return nil, fmt.Errorf("the doctor says healthy %v and exits with %d", x.Healthy, code)
	}
	for _, f := range x.Findings {
		if f.Do == "" {
			return nil, fmt.Errorf("the doctor does not say what to do about %s", f.Code)
		}
		if f.Fatal {
			fatal = append(fatal, f)
		}
	}
	return fatal, nil
}
