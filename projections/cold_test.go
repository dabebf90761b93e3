package projections_test

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// frozen is a state that does not change, in the order of its keys.
type frozen struct{ keys, values []string }

func freeze(m memory) *frozen {
	f := &frozen{}
	for k := range m {
		f.keys = append(f.keys, k)
	}
	slices.Sort(f.keys)
	for _, k := range f.keys {
		f.values = append(f.values, m[k])
	}
	return f
}

func (f *frozen) Get(key []byte) ([]byte, error) {
	if k, found := slices.BinarySearch(f.keys, string(key)); found {
		return []byte(f.values[k]), nil
	}
	return nil, nil
}

func (f *frozen) Scan(prefix []byte, each func(key, value []byte) error) error {
	for k := sort.SearchStrings(f.keys, string(prefix)); k < len(f.keys) && strings.HasPrefix(f.keys[k], string(prefix)); k++ {
		if err := each([]byte(f.keys[k]), []byte(f.values[k])); err != nil {
			return err
		}
	}
	return nil
}

func (f *frozen) Range(first, end []byte, each func(key, value []byte) error) error {
	for k := sort.SearchStrings(f.keys, string(first)); k < len(f.keys) && f.keys[k] < string(end); k++ {
		if err := each([]byte(f.keys[k]), []byte(f.values[k])); err != nil {
			return err
		}
	}
	return nil
}

const coldApp = "o#a"

func coldUser(i int) string { return fmt.Sprintf("user%06d", i) }

// bigGroup is the state of a group of so many members who have all read two messages, but for their
// sender, and the last one hides it; of the second one readers are only counted. Somebody came
// between the messages, and has left. The sender has 300 more messages in their summary.
func bigGroup(t *testing.T, members int) memory {
	t.Helper()
	state := memory{}
	part, err := projections.Open(0, state, projections.Options{
		CacheBytes: 1 << 30, Limits: projections.Limits{Members: members + 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	sequence := uint64(0)
	apply := func(list []events.Event) {
		t.Helper()
		for some := range slices.Chunk(list, events.MaxFirstMembers) {
			for i := range some {
				some[i].App = coldApp
			}
			var b events.Batch
			b.SetEvents(some)
			sequence++
			out, err := part.Apply(projections.Decoded{Sequence: sequence, At: int64(sequence), Batch: &b})
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range out {
				if o != events.OutcomeApplied && o != events.OutcomeHidden {
					t.Fatalf("%v is %v", some[i], o)
				}
			}
		}
	}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.GroupReceipts.MaxGroupSize = true, 0
	apply([]events.Event{
		{Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		{Kind: events.GroupCreated, Group: "g", User: coldUser(0)},
	})
	var list []events.Event
	for i := 1; i < members; i++ {
		list = append(list, events.Event{Kind: events.GroupJoined, Group: "g", User: coldUser(i)})
	}
	list = append(list, events.Event{Kind: events.MessageSent, Group: "g", User: coldUser(0), Message: "m", Receipt: true})
	for i := 1; i < members-1; i++ {
		list = append(list, events.Event{Kind: events.MessageRead, Group: "g", User: coldUser(i), Message: "m"})
	}
	list = append(list, events.Event{Kind: events.UserConfigured, Group: "g", User: coldUser(members - 1), SendReads: events.ChoiceHide, Revision: 1})
	list = append(list, events.Event{Kind: events.MessageRead, Group: "g", User: coldUser(members - 1), Message: "m"})
	counts := settings
	counts.GroupReceipts.MaxGroupSize, counts.GroupReceipts.AboveLimit = 1, events.AboveLimitCounts
	list = append(list,
		events.Event{Kind: events.AppConfigured, Settings: &counts, Revision: 2},
		events.Event{Kind: events.GroupJoined, Group: "g", User: "gone"},
		events.Event{Kind: events.MessageSent, Group: "g", User: coldUser(0), Message: "c", Receipt: true})
	for i := 1; i < members; i++ {
		list = append(list, events.Event{Kind: events.MessageRead, Group: "g", User: coldUser(i), Message: "c"})
	}
	list = append(list,
		events.Event{Kind: events.MessageRead, Group: "g", User: "gone", Message: "c"},
		events.Event{Kind: events.GroupLeft, Group: "g", User: "gone"})
	for i := range 300 {
		id := fmt.Sprint("n", i)
		list = append(list,
			events.Event{Kind: events.MessageSent, Peer: coldUser(1), User: coldUser(0), Message: id},
			events.Event{Kind: events.MessageRead, Peer: coldUser(0), User: coldUser(1), Message: id})
	}
	apply(list)
	c, err := part.Capture()
	if err != nil {
		t.Fatal(err)
	}
	if err := state.commit(c); err != nil {
		t.Fatal(err)
	}
	return state
}

// TestQuestionsHoldTheFoldShortly asks every question about a group of 100,000 members of which
// nothing is in memory, and then again. None holds up the fold for longer than a millisecond, or,
// on a machine that is slow or busy, a fiftieth of the time that it takes: to read the group under
// the lock would take most of that.
func TestQuestionsHoldTheFoldShortly(t *testing.T) {
	const members, longest = 100_000, time.Millisecond
	state := freeze(bigGroup(t, members))
	group := events.Conversation{App: coldApp, Group: "g"}
	questions := map[string]func(p *projections.Partition) (n int, err error){
		"message": func(p *projections.Partition) (int, error) {
			m, err := p.MessageIn(group, "m", coldUser(5))
			return m.Read, err
		},
		"found by its id": func(p *projections.Partition) (int, error) {
			m, err := p.Message(coldApp, "m")
			return m.Read, err
		},
		"counts": func(p *projections.Partition) (int, error) {
			counts, err := p.Counts(coldApp, []string{"m", "n1"})
			return counts["m"].Read, err
		},
		"readers": func(p *projections.Partition) (int, error) {
			page, err := p.Readers(group, "m", 0, 1000)
			return page.Total, err
		},
		"nonreaders": func(p *projections.Partition) (int, error) {
			page, err := p.NonReaders(group, "m", 0, 1000)
			if len(page.Users) != 1 {
				err = fmt.Errorf("%d nonreaders, %w", len(page.Users), err)
			}
			return members - 1 - page.Total, err
		},
		"message without those who left": func(p *projections.Partition) (int, error) {
			m, err := p.Remaining(group, "m")
			return m.Read, err
		},
		"counted message without those who left": func(p *projections.Partition) (int, error) {
			m, err := p.Remaining(group, "c")
			return m.Read, err
		},
		"readers without those who left": func(p *projections.Partition) (int, error) {
			page, err := p.RemainingReaders(group, "m", 0, 1000)
			return page.Total, err
		},
		"nonreaders without those who left": func(p *projections.Partition) (int, error) {
			page, err := p.RemainingNonReaders(group, "m", 0, 1000)
			if len(page.Users) != 1 {
				err = fmt.Errorf("%d nonreaders, %w", len(page.Users), err)
			}
			return members - 1 - page.Total, err
		},
		"messages": func(p *projections.Partition) (int, error) {
			page, err := p.GroupMessages(coldApp, "g", 0, 1000)
			return page.Messages[1].Read, err
		},
		"reads": func(p *projections.Partition) (int, error) {
			page, err := p.Reads(coldApp, "g", "", coldUser(5), 0, 1000)
			return members - 3 + len(page.Reads), err
		},
		"is member": func(p *projections.Partition) (int, error) {
			is, err := p.IsMember(coldApp, "g", coldUser(members-1))
			if !is {
				err = fmt.Errorf("no member, %w", err)
			}
			return members - 2, err
		},
		"members": func(p *projections.Partition) (int, error) {
			page, err := p.Members(coldApp, "g", members-10, 1000)
			return page.Total - 2, err
		},
		"group": func(p *projections.Partition) (int, error) {
			g, err := p.Group(coldApp, "g")
			return len(g.Members) - 2, err
		},
		"positions": func(p *projections.Partition) (int, error) {
			page, err := p.Positions(coldApp, "g", 0, 1000)
			return members - 2 + len(page.Members) - 1000, err
		},
		"unread": func(p *projections.Partition) (int, error) {
			page, err := p.UnreadMessages(coldApp, "g", "", coldUser(7), 0, 100)
			return members - 4 + page.Unread, err
		},
		"conversations": func(p *projections.Partition) (int, error) {
			list, err := p.Conversations(coldApp, coldUser(0))
			return members - 4 + len(list), err
		},
		"summary": func(p *projections.Partition) (int, error) {
			s, _, err := p.Summary(coldApp, coldUser(0), "")
			return members - 2 - 302 + len(s.Items), err
		},
	}
	for name, ask := range questions {
		t.Run(name, func(t *testing.T) {
			// Once of several times: a machine that is busy stops a goroutine anywhere.
			var held, limit time.Duration
			for try := 0; try < 10 && held >= limit; try++ {
				held = 0
				p, err := projections.Open(0, state, projections.Options{
					CacheBytes: 1 << 30, Held: func(d time.Duration) { held = max(held, d) },
				})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				for range 2 {
					if n, err := ask(p); err != nil || n != members-2 {
						t.Fatalf("%d, %v", n, err)
					}
				}
				limit = max(longest, time.Since(start)/50)
			}
			if t.Logf("%v", held); held >= limit {
				t.Errorf("the fold was held up for %v, want less than %v", held, limit)
			}
		})
	}
}

// gated is a state that waits at a gate in its ranges of members, which a load without the lock
// reads.
type gated struct {
	memory
	mu      *sync.Mutex // of memory
	reading chan struct{}
	goOn    chan struct{}
}

func (g *gated) Range(first, end []byte, f func(key, value []byte) error) error {
	g.mu.Lock()
	part := memory{}
	_ = g.memory.Range(first, end, func(k, v []byte) error {
		part[string(k)] = string(v)
		return nil
	})
	g.mu.Unlock()
	if len(first) > 0 && first[0] == 'M' && g.reading != nil {
		g.reading <- struct{}{}
		<-g.goOn
	}
	return part.Range(first, end, f)
}

// TestWhatIsLoadedMeanwhileIsNotOutOfDate reads a group without the lock, while the fold loads it,
// changes it, commits that and evicts it again: what was read before that is not believed.
func TestWhatIsLoadedMeanwhileIsNotOutOfDate(t *testing.T) {
	const members = 200
	g := &gated{memory: bigGroup(t, members), mu: new(sync.Mutex)}
	// What is committed is evicted at once.
	p, err := projections.Open(0, g, projections.Options{CacheBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	g.reading, g.goOn = make(chan struct{}), make(chan struct{})
	answer := make(chan error)
	go func() {
		page, err := p.Members(coldApp, "g", 0, 1000)
		if err == nil && page.Total != members-1 {
			err = fmt.Errorf("%d members", page.Total)
		}
		answer <- err
	}()
	<-g.reading
	sequence, _ := p.Position()
	var b events.Batch
	b.SetEvents([]events.Event{{App: coldApp, Kind: events.GroupLeft, Group: "g", User: coldUser(3)}})
	if _, err := p.Apply(projections.Decoded{Sequence: sequence + 1, At: int64(sequence + 1), Batch: &b}); err != nil {
		t.Fatal(err)
	}
	c, err := p.Capture()
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	err = g.commit(c)
	g.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	p.Committed(c)
	for range 3 { // which evict, by second chance
		if _, err := p.UserSettings(coldApp, "nobody"); err != nil {
			t.Fatal(err)
		}
	}
	g.goOn <- struct{}{}
	for {
		select {
		case <-g.reading: // once more
			g.goOn <- struct{}{}
		case err := <-answer:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}
