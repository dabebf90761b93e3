package projections_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// slow is a backing in which each lookup takes a while, and which counts them.
type slow struct {
	memory
	delay time.Duration
	gets  atomic.Int64
	scans atomic.Int64
	began chan struct{} // closed at the first lookup
	// ranging, if set, is called before what an index has is read.
	ranging func()
}

func (s *slow) Get(key []byte) ([]byte, error) {
	if s.gets.Add(1) == 1 && s.began != nil {
		close(s.began)
	}
	time.Sleep(s.delay) // a disk that is slow
	return s.memory.Get(key)
}

func (s *slow) Scan(prefix []byte, f func(key, value []byte) error) error {
	s.scans.Add(1)
	return s.memory.Scan(prefix, f)
}

func (s *slow) Range(from, to []byte, f func(key, value []byte) error) error {
	if s.ranging != nil {
		s.ranging()
	}
	return s.memory.Range(from, to, f)
}

const manyGroups = 600

// inManyGroups is a committed state in which one user is in many groups, each with a message of the
// same id, and in a chat. Half of the groups have something unread.
func inManyGroups(t *testing.T) memory {
	state := memory{}
	part, err := projections.Open(0, state, projections.Options{})
	if err != nil {
		t.Fatal(err)
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	list := []events.Event{{Kind: events.AppConfigured, App: "o#a", Settings: &settings, Revision: 1}}
	for i := range manyGroups {
		group := fmt.Sprintf("g%05d", i)
		list = append(list,
			events.Event{Kind: events.GroupCreated, App: "o#a", Group: group, User: "owner", Members: []string{"ben", "cleo", "dan"}},
			events.Event{Kind: events.MessageSent, App: "o#a", Group: group, User: "cleo", Message: "7", Receipt: true},
			events.Event{Kind: events.MessageSent, App: "o#a", Group: group, User: "dan", Message: fmt.Sprint("only", i)})
		if i%2 == 0 {
			list = append(list, events.Event{Kind: events.MessageRead, App: "o#a", Group: group, User: "dan", Message: "7"})
			list = append(list, events.Event{Kind: events.ConversationRead, App: "o#a", Group: group, User: "dan"})
		}
	}
	list = append(list, events.Event{Kind: events.MessageSent, App: "o#a", User: "dan", Peer: "eve", Message: "7"})
	var batch events.Batch
	batch.SetEvents(list)
	if _, err := part.Apply(projections.Decoded{Sequence: 1, At: 1, Batch: &batch}); err != nil {
		t.Fatal(err)
	}
	c, err := part.Capture()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Each(func(key, value []byte) error {
		state[string(key)] = string(value)
		return nil
	}, func(key []byte) error { delete(state, string(key)); return nil }); err != nil {
		t.Fatal(err)
	}
	return state
}

// cold opens a state with nothing of it in memory.
func cold(t *testing.T, back projections.Backing) *projections.Partition {
	t.Helper()
	part, err := projections.Open(0, back, projections.Options{CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	return part
}

// TestListsLetTheFoldGoOn: while many conversations or messages are gone through, the fold gets its
// turn after a few lookups.
func TestListsLetTheFoldGoOn(t *testing.T) {
	state := inManyGroups(t)
	var ids []string
	for i := range manyGroups {
		ids = append(ids, fmt.Sprint("only", i))
	}
	for name, ask := range map[string]func(*projections.Partition) (int, error){
		"conversations": func(p *projections.Partition) (int, error) {
			list, err := p.Conversations("o#a", "dan")
			return len(list), err
		},
		"holders of an id": func(p *projections.Partition) (int, error) {
			list, err := p.Holders("o#a", "7", "dan", 1<<20)
			return len(list), err
		},
		"summary": func(p *projections.Partition) (int, error) {
			list, _, err := p.Summary("o#a", "cleo", "")
			return len(list.Items), err
		},
		"counts": func(p *projections.Partition) (int, error) {
			counts, err := p.Counts("o#a", ids)
			return len(counts), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			back := &slow{memory: state}
			part := cold(t, back)
			back.gets.Store(0)
			back.delay, back.began = 20*time.Microsecond, make(chan struct{})
			folded := make(chan int64)
			go func() {
				<-back.began
				var batch events.Batch
				batch.SetEvents([]events.Event{{Kind: events.GroupLeft, App: "o#a", Group: "none", User: "dan"}})
				_, err := part.Apply(projections.Decoded{Sequence: 2, At: 2, Batch: &batch})
				if err != nil {
					t.Error(err)
				}
				folded <- back.gets.Load()
			}()
			n, err := ask(part)
			want := map[string]int{"summary": manyGroups / 2, "counts": manyGroups}[name]
			if want == 0 {
				want = manyGroups + 1
			}
			if err != nil || n != want {
				t.Fatalf("%d items, %v", n, err)
			}
			all := back.gets.Load()
			if before := <-folded; before > all/2 {
				t.Errorf("the fold waited for %d of %d lookups", before, all)
			}
		})
	}
}

// What there is to look up is read from an index, as long as it may be, while the fold goes on.
func TestIndexesAreReadWhileTheFoldGoesOn(t *testing.T) {
	state := inManyGroups(t)
	for name, ask := range map[string]func(*projections.Partition) error{
		"conversations": func(p *projections.Partition) error {
			_, err := p.Conversations("o#a", "dan")
			return err
		},
		"holders of an id": func(p *projections.Partition) error {
			_, err := p.Holders("o#a", "7", "dan", 1<<20)
			return err
		},
		"whether a user is known": func(p *projections.Partition) error {
			_, err := p.Knows("o#a", "dan")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			back := &slow{memory: state}
			part := cold(t, back)
			ranges := 0
			back.ranging = func() {
				if ranges++; ranges > 1 {
					return
				}
				folded := make(chan error, 1)
				go func() {
					var batch events.Batch
					batch.SetEvents([]events.Event{{Kind: events.GroupLeft, App: "o#a", Group: "none", User: "dan"}})
					_, err := part.Apply(projections.Decoded{Sequence: 2, At: 2, Batch: &batch})
					folded <- err
				}()
				select {
				case err := <-folded:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(10 * time.Second):
					t.Error("the fold waits while the index is read")
				}
			}
			if err := ask(part); err != nil || ranges == 0 {
				t.Errorf("%d indexes were read, %v", ranges, err)
			}
		})
	}
}

// TestConversationsWithoutMembers: the list takes two lookups a group, whatever its size, also with
// an index that an older version wrote, where it has to load the group.
func TestConversationsWithoutMembers(t *testing.T) {
	state := inManyGroups(t)
	back := &slow{memory: state}
	part := cold(t, back)
	back.gets.Store(0)
	back.scans.Store(0)
	list, err := part.Conversations("o#a", "dan")
	if err != nil {
		t.Fatal(err)
	}
	if gets, scans := back.gets.Load(), back.scans.Load(); scans != 0 || gets > 2*manyGroups+1 {
		t.Errorf("%d lookups and %d scans", gets, scans)
	}
	unread := 0
	for _, v := range list {
		unread += v.Unread
	}
	if len(list) != manyGroups+1 || unread != manyGroups/2 || list[manyGroups].Peer != "eve" {
		t.Errorf("%d conversations, %d unread", len(list), unread)
	}
	old := memory{}
	for key, value := range state {
		if strings.HasPrefix(key, "U") {
			value = ""
		}
		old[key] = value
	}
	of, err := cold(t, old).Conversations("o#a", "dan")
	if err != nil || !slices.Equal(of, list) {
		t.Errorf("with an index of an older version: %d conversations, %v", len(of), err)
	}
}
