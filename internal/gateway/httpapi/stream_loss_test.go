package httpapi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// empty is the backing of a fold that never commits.
type empty struct{}

func (empty) Get([]byte) ([]byte, error)                         { return nil, nil }
func (empty) Scan([]byte, func(key, value []byte) error) error   { return nil }
func (empty) Range(_, _ []byte, _ func(_, _ []byte) error) error { return nil }

// fold is a partition in which others receive and read what alice sends.
type fold struct {
	partition int
	notify    *notify.Hub
	part      *projections.Partition

	lock     sync.Mutex
	sequence uint64
	batch    events.Batch
	sent     map[string]bool
	// happened is what alice has to hear of: see receipts.
	happened receipts
	failure  error
}

// receipts has the read count of a message, 1 for one that was delivered, and the time of a chat's
// conversation read.
type receipts map[string]int64

func newFold(t *testing.T, partition int, notify *notify.Hub) *fold {
	part, err := projections.Open(partition, empty{}, projections.Options{
		Online: notify.Online, Limits: projections.Limits{SummaryItems: 1 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	f := &fold{partition: partition, notify: notify, part: part, sent: map[string]bool{}, happened: receipts{}}
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled = true
	group := events.Event{Kind: events.GroupCreated, Group: "g1", User: "alice"}
	for n := range 40 {
		group.Members = append(group.Members, fmt.Sprint("u", n))
	}
	f.apply(events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1}, group)
	return f
}

// apply folds the events as one entry. The caller holds the lock, or is alone; so effects are
// pushed in the order of their sequences.
func (f *fold) apply(evs ...events.Event) {
	f.sequence++
	for i := range evs {
		evs[i].App = testApp
	}
	f.batch.SetEvents(evs)
	outcomes, err := f.part.Apply(projections.Decoded{Sequence: f.sequence, At: int64(f.sequence), Batch: &f.batch})
	if err != nil {
		f.failure = err
		return
	}
	for i := range outcomes {
		if outcomes[i] == events.OutcomeApplied {
			f.happened.add(&evs[i], int64(f.sequence))
		}
	}
	f.notify.Push(f.part.TakeEffects(nil))
}

func (r receipts) add(ev *events.Event, at int64) {
	switch ev.Kind {
	case events.MessageRead:
		r["read "+ev.Message]++
	case events.MessageDelivered:
		r["delivered "+ev.Message] = 1
	case events.ConversationRead:
		r["chat "+ev.User] = at
	}
}

// send is a message of alice's, or nothing if she has sent it.
func (f *fold) send(group, peer, message string) (evs []events.Event) {
	if !f.sent[message] {
		f.sent[message] = true
		evs = append(evs, events.Event{
			Kind: events.MessageSent, Group: group, Peer: peer, User: "alice", Message: message, Receipt: group != "",
		})
	}
	return evs
}

// read has another member read a group message.
func (f *fold) read(message string) {
	f.lock.Lock()
	defer f.lock.Unlock()
	reader := fmt.Sprint("u", f.happened["read "+message])
	f.apply(append(f.send("g1", "", message), events.Event{Kind: events.MessageRead, Group: "g1", User: reader, Message: message})...)
}

// single has a peer receive or read a message, or read the chat with a new one.
func (f *fold) single(kind events.Kind, peer, message string) {
	f.lock.Lock()
	defer f.lock.Unlock()
	ev := events.Event{Kind: kind, User: peer, Peer: "alice", Message: message}
	if kind == events.ConversationRead {
		message, ev.Message = fmt.Sprintf("p%dunheard%d", f.partition, f.sequence), ""
	}
	f.apply(append(f.send("", peer, message), ev)...)
}

// folds are both partitions.
type folds struct {
	*fakeState
	fakeCommands // for what is never called
	parts        [testPartitions]*fold
	asked        atomic.Int64
}

// Summary has receipts come in just after the summary was made, where they are lost if nobody
// listens yet.
func (f *folds) Summary(app, user, device string) (s projections.Summary, upto []uint64, err error) {
	for _, part := range f.parts {
		some, at, err := part.part.Summary(app, user, device)
		if err != nil {
			return s, nil, err
		}
		s.Items, upto = append(s.Items, some.Items...), append(upto, at)
	}
	for p, part := range f.parts {
		n := f.asked.Add(1)
		part.read(fmt.Sprintf("p%dlate%d", p, n))
		part.single(events.MessageDelivered, fmt.Sprintf("p%dlate", p), fmt.Sprintf("p%dreceived%d", p, n))
		part.single(events.ConversationRead, fmt.Sprintf("p%dlate%d", p, n), "")
	}
	return s, upto, nil
}

func (f *folds) Configure(_ context.Context, _ string, s events.Settings) (events.Settings, error) {
	return s, nil
}

func (f *folds) Seen(_ context.Context, _, user, device string, upto []uint64) error {
	for p, part := range f.parts {
		part.lock.Lock()
		part.apply(events.Event{Kind: events.StatisticSeen, User: user, Device: device, Upto: upto[p]})
		part.lock.Unlock()
	}
	return nil
}

// missing says where told differs from what happened.
func (f *folds) missing(told receipts) (differences []string) {
	for _, part := range f.parts {
		part.lock.Lock()
		for what, want := range part.happened {
			if told[what] != want {
				differences = append(differences, fmt.Sprintf("%s: told %d of %d", what, told[what], want))
			}
		}
		part.lock.Unlock()
	}
	return differences
}

// hear adds what an event of the stream tells.
func (r receipts) hear(e streamEvent) {
	text := func(of any, field string) string { s, _ := of.(map[string]any)[field].(string); return s }
	count := func(of any) int64 { return int64(of.(map[string]any)["count"].(float64)) }
	moment := func(of any) int64 {
		at, _ := time.Parse(time.RFC3339, text(of, "read_at"))
		return at.UnixMilli()
	}
	list := func(field string) []any { items, _ := e.data[field].([]any); return items }
	switch e.name {
	case "read":
		r["read "+text(e.data, "message")] = count(e.data)
	case "delivered":
		r["delivered "+text(e.data, "message")] = 1
	case "conversation_read":
		r["chat "+text(e.data, "user")] = moment(e.data)
	case "statistic":
		for _, ack := range list("group_ack") {
			r["read "+text(ack, "mid")] = count(ack)
		}
		for _, ack := range list("single_ack") {
			if text(ack, "delivered_at") != "" {
				r["delivered "+text(ack, "mid")] = 1
			}
			if text(ack, "read_at") != "" {
				r["read "+text(ack, "mid")] = 1
			}
		}
		for _, ack := range list("conversation_ack") {
			r["chat "+text(ack, "peer")] = moment(ack)
		}
	}
}

// TestNothingIsLostHoweverOftenTheConnectionBreaks has receipts of groups and single chats come in
// while the author's connection breaks at random. A client that remembers the last id must end with
// all of them, although what it has acknowledged is never sent again.
func TestNothingIsLostHoweverOftenTheConnectionBreaks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	all := &folds{fakeState: newFakeState()}
	h := newHarness(t, func(c *Config) { c.State, c.Commands = all, all })
	for p := range all.parts {
		all.parts[p] = newFold(t, p, h.notify)
	}

	var reading sync.WaitGroup
	for p, part := range all.parts {
		source := rand.New(rand.NewPCG(seed, uint64(p+1)))
		reading.Go(func() {
			for i := range 3000 {
				// A message or chat is read a few times and then never again, so that nothing makes
				// up for a loss.
				n := (i + source.IntN(16)) / 4
				peer, message := fmt.Sprintf("p%dpeer%d", p, n/4), fmt.Sprintf("p%ds%d", p, n)
				switch source.IntN(5) {
				case 0:
					part.single(events.MessageDelivered, peer, message)
				case 1:
					part.single(events.MessageRead, peer, message)
				case 2:
					part.single(events.ConversationRead, peer, "")
				default:
					part.read(fmt.Sprintf("p%dm%d", p, n))
				}
				if source.IntN(5) == 0 {
					// Some are pushed together, some alone.
					time.Sleep(time.Duration(source.IntN(2000)) * time.Microsecond)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { reading.Wait(); close(done) }()

	told := receipts{} // what the author knows
	take := func(c *streamClient, events int) error {
		for range events {
			e, err := c.next()
			if err != nil {
				return err
			}
			told.hear(e)
		}
		return nil
	}
	lastID, connections := "", 0
	for finished := false; !finished; {
		select {
		case <-done:
			finished = true
		default:
		}
		c := h.openStream("alice", lastID)
		connections++
		time.AfterFunc(time.Duration(r.IntN(30))*time.Millisecond, c.close)
		_ = take(c, r.IntN(100))
		c.close()
		lastID = c.lastID
	}
	// Everything has happened: one last connection that stays until nothing is missing.
	c := h.openStream("alice", lastID)
	time.AfterFunc(patience, c.close)
	for len(all.missing(told)) > 0 {
		if err := take(c, 1); err != nil {
			break
		}
	}
	if missing := all.missing(told); len(missing) > 0 {
		t.Errorf("lost: %v", missing)
	}
	kinds := map[string]int{}
	for _, part := range all.parts {
		part.lock.Lock()
		defer part.lock.Unlock()
		if part.failure != nil {
			t.Errorf("partition %d: %v", part.partition, part.failure)
		}
		for what := range part.happened {
			kind, _, _ := strings.Cut(what, " ")
			kinds[kind]++
		}
	}
	t.Logf("%d connections, %v", connections, kinds)
}
