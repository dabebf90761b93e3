package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
)

const chatApp = "o#chat"

// chat sends messages first to last-1 of ten single chats, each with its receipts in a request of
// its own, and returns the positions of the first.
func (s *server) chat(tag string, first, last int) (at map[int]uint64) {
	s.t.Helper()
	for i := first; i < last; i++ {
		message := events.Event{Kind: events.MessageSent, Message: fmt.Sprint("m", i), User: "anna", Peer: fmt.Sprint("ben", i%10)}
		evs := []events.Event{message}
		if i%3 > 0 {
			evs = append(evs, events.Event{
				Kind: events.MessageRead, Message: message.Message, User: message.Peer, Peer: message.User, Content: tag,
			})
		}
		text, err := s.do("POST", appPath(chatApp)+"/events", ndjson, lines(evs))
		if err != nil {
			s.t.Fatal(err)
		}
		var answer struct {
			Positions []struct {
				Partition int
				Sequence  uint64
			}
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			s.t.Fatal(err)
		}
		if at == nil {
			at = map[int]uint64{}
			for _, p := range answer.Positions {
				at[p.Partition] = p.Sequence
			}
		}
	}
	return at
}

// answers are what the server says about n messages of the chats and their readers; nothing about
// unknown ones.
func (s *server) answers(n int) map[string]string {
	s.t.Helper()
	caughtUp(s.t, s)
	all := map[string]string{}
	for i := range n {
		id := fmt.Sprint("m", i)
		var m message
		err := s.call("GET", messagePath(chatApp, id), nil, &m)
		if r := (*refusal)(nil); errors.As(err, &r) && r.Body.Code == "message_not_found" {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		all[id] = fmt.Sprintf("%+v %+v", m, s.readers(chatApp, id, 10))
	}
	for i := range 10 {
		user := fmt.Sprint("ben", i)
		text, err := s.do("GET", appPath(chatApp)+"/users/"+user+"/conversations", "", nil)
		if err != nil {
			s.t.Fatal(err)
		}
		all[user] = string(text)
	}
	return all
}

// replaceDir puts a copy of a directory in the place of another.
func replaceDir(t *testing.T, at, from string) {
	t.Helper()
	if err := os.RemoveAll(at); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(at, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestLogLosesItsTail puts an older or another log below a state that is ahead of it, as a disk
// that lost its last writes would. The start notices, folds the log that there is from its start,
// and goes on from its end.
func TestLogLosesItsTail(t *testing.T) {
	const atT1, ahead = 60, 150
	s := startServer(t, "--partitions=2", "--fsync=interval")
	s.must("PUT", appPath(chatApp), struct{}{}, nil)
	s.chat("first", 0, atT1)
	then := s.answers(ahead)
	s.stop()
	saved := filepath.Join(t.TempDir(), "data")
	replaceDir(t, saved, s.data)

	s.start()
	lost := s.chat("lost", atT1, ahead)
	s.stop()
	stateAhead := filepath.Join(t.TempDir(), "state")
	replaceDir(t, stateAhead, filepath.Join(s.data, "state"))

	t.Run("shorter", func(t *testing.T) {
		s := newServerAt(t, filepath.Join(t.TempDir(), "data"), "--partitions=2", "--fsync=interval")
		replaceDir(t, s.data, saved)
		s.startBelow(stateAhead)
		same(s, "answers as at T1", s.answers(ahead), then)
		if now := s.chat("again", atT1, atT1+30); !maps.Equal(now, lost) {
			t.Errorf("new events are at %v, the lost ones were at %v", now, lost)
		}
		s.verify()
		if got := s.answers(ahead); !strings.Contains(got[fmt.Sprint("m", atT1+1)], "again") || len(got) != atT1+30+10 {
			t.Errorf("%d answers, %s", len(got), got[fmt.Sprint("m", atT1+1)])
		}
		s.stop()
		s.startQuietly()
		s.verify()
	})
	for name, upto := range map[string]int{"as long, other entries": ahead, "longer, other entries": ahead + 50} {
		t.Run(name, func(t *testing.T) {
			s := newServerAt(t, filepath.Join(t.TempDir(), "data"), "--partitions=2", "--fsync=interval")
			replaceDir(t, s.data, saved)
			s.start()
			s.chat("other", atT1, upto)
			want := s.answers(upto)
			s.stop()
			s.startBelow(stateAhead)
			same(s, "answers of the other log", s.answers(upto), want)
			s.verify()
			s.kill()
			s.start()
			same(s, "answers after kill -9", s.answers(upto), want)
			s.verify()
		})
	}
}

const lossNoticed = "the log is shorter than the state or has another entry at its position"

// startBelow starts the server with another state above its log, and expects it to notice. The tool
// notices too, but changes nothing.
func (s *server) startBelow(state string) {
	s.t.Helper()
	replaceDir(s.t.(*testing.T), filepath.Join(s.data, "state"), state)
	if got := run(s.t, "receiptctl", nil, "verify", "--data", s.data); got.code != 1 || !strings.Contains(got.err, lossNoticed) {
		s.t.Errorf("verify: %v", got)
	}
	s.start()
	if n := strings.Count(s.process.err.String(), lossNoticed); n != 2 {
		s.t.Errorf("the loss was noticed in %d of 2 partitions: %s", n, s.process.err.String())
	}
	// With --fsync interval that is to be expected: the state that was ahead goes, once the one in
	// its place is proven.
	for _, dir := range s.partitions() {
		list := s.generations(dir)
		if list[0] != s.generation(dir) || len(list) > 2 || len(list) == 2 && !strings.HasPrefix(list[1], "aside-") {
			s.t.Errorf("%s: %q", dir, list)
		}
	}
}

// startQuietly starts the server on data that nothing is wrong with.
func (s *server) startQuietly() {
	s.t.Helper()
	s.start()
	if text := s.process.err.String(); strings.Contains(text, lossNoticed) {
		s.t.Errorf("noticed a loss where there is none: %s", text)
	}
}
