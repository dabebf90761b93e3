package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

const testApp = "acme#chat"

// fakeState answers from tables that a test fills.
type fakeState struct {
	mu            sync.Mutex
	settings      map[string]events.Settings
	messages      map[string]projections.Message // by app and id, see in
	readers       map[string][]projections.Reader
	nonReaders    map[string][]string
	members, late map[string]bool // by app, group and user
	groups        map[string][]projections.GroupMember
	left          map[string]bool // users who have left every group
	conversations map[string][]projections.ConversationView
	dropped       int
	summaries     map[string][]projections.SummaryItem // by app and user
	unread        []projections.UnreadMessage
	sent          []projections.Message         // of every group, oldest first
	looked        int                           // at messages that nobody read
	wishes        map[string]projections.Wishes // by app and user, and by group and peer
	seesNobody    map[string]bool               // by app, group, peer and user
	positions     map[string][]projections.MemberPosition
	upto          []uint64
	rejections    []projections.Rejection
	outcomes      func(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
	notReady      error
	failure       error // of every query
}

func newFakeState() *fakeState {
	return &fakeState{
		settings: map[string]events.Settings{testApp: events.DefaultSettings()},
		messages: map[string]projections.Message{}, readers: map[string][]projections.Reader{},
		nonReaders: map[string][]string{}, members: map[string]bool{}, late: map[string]bool{},
		groups:        map[string][]projections.GroupMember{},
		conversations: map[string][]projections.ConversationView{},
		summaries:     map[string][]projections.SummaryItem{},
		upto:          []uint64{7, 9},
		wishes:        map[string]projections.Wishes{}, seesNobody: map[string]bool{},
		positions: map[string][]projections.MemberPosition{},
	}
}

func in(parts ...string) string { return strings.Join(parts, "\x00") }

func (s *fakeState) Settings(app string) (events.Settings, uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.settings[app]
	return v, 1, ok
}

func (s *fakeState) Apps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.settings))
}

// all are the app's messages with the id.
func (s *fakeState) all(app, id string) (list []projections.Message) {
	for key, m := range s.messages {
		if strings.HasPrefix(key, in(app, "")) && m.ID == id {
			list = append(list, m)
		}
	}
	return list
}

func (s *fakeState) Message(app, id string) (projections.Message, error) {
	list := s.all(app, id)
	switch len(list) {
	case 0:
		return projections.Message{}, projections.ErrNotFound
	case 1:
		return list[0], s.failure
	}
	holders, _ := s.Holders(app, id, "", projections.MaxHolders)
	return projections.Message{}, projections.NewAmbiguousError(id, holders)
}

func (s *fakeState) Holders(app, id, user string, limit int) (holders []events.Conversation, err error) {
	for _, m := range s.all(app, id) {
		if user == "" || s.standing(app, &m, user) != projections.Stranger {
			holders = append(holders, m.Conversation(app))
		}
	}
	slices.SortFunc(holders, func(x, y events.Conversation) int { return strings.Compare(x.Group+x.A+x.B, y.Group+y.A+y.B) })
	return holders[:min(limit, len(holders))], s.failure
}

func (s *fakeState) standing(app string, m *projections.Message, user string) projections.Standing {
	switch {
	case user == m.From:
		return projections.Sender
	case user == m.To && user != "", s.members[in(app, m.Group, user)]:
		return projections.Recipient
	case s.late[in(app, m.Group, user)]:
		return projections.LateMember
	}
	return projections.Stranger
}

func (s *fakeState) MessageIn(c events.Conversation, id, user string) (projections.Found, error) {
	for _, m := range s.all(c.App, id) {
		if m.Conversation(c.App) == c {
			return projections.Found{Message: m, Standing: s.standing(c.App, &m, user)}, s.failure
		}
	}
	return projections.Found{}, projections.ErrNotFound
}

func (s *fakeState) Readers(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error) {
	if _, err := s.MessageIn(c, id, ""); err != nil {
		return projections.ReaderPage{}, err
	}
	if s.messages[in(c.App, id)].CountsOnly {
		return projections.ReaderPage{}, projections.ErrNoNames
	}
	all := s.readers[in(c.App, id)]
	page := projections.ReaderPage{Total: len(all), Readers: all[min(offset, len(all)):]}
	if len(page.Readers) > limit {
		page.Readers, page.Next = page.Readers[:limit], offset+limit
	}
	return page, nil
}

func (s *fakeState) NonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error) {
	if _, err := s.MessageIn(c, id, ""); err != nil {
		return projections.NonReaderPage{}, err
	}
	if s.messages[in(c.App, id)].CountsOnly {
		return projections.NonReaderPage{}, projections.ErrNoNames
	}
	all := s.nonReaders[in(c.App, id)]
	page := projections.NonReaderPage{Total: len(all), Users: all[min(after, len(all)):]}
	if len(page.Users) > limit {
		page.Users, page.Next = page.Users[:limit], after+limit
	}
	return page, nil
}

func (s *fakeState) Remaining(c events.Conversation, id string) (projections.Message, error) {
	m, err := s.MessageIn(c, id, "")
	for _, r := range s.readers[in(c.App, id)] {
		if s.left[r.User] {
			m.Eligible, m.Read, m.Delivered = m.Eligible-1, m.Read-1, m.Delivered-1
		}
	}
	for _, user := range s.nonReaders[in(c.App, id)] {
		if s.left[user] {
			m.Eligible--
		}
	}
	return m.Message, err
}

func (s *fakeState) RemainingReaders(c events.Conversation, id string, offset, limit int) (projections.ReaderPage, error) {
	page, err := s.Readers(c, id, offset, limit)
	page.Readers = slices.DeleteFunc(slices.Clone(page.Readers), func(r projections.Reader) bool { return s.left[r.User] })
	page.Total = len(page.Readers)
	return page, err
}

func (s *fakeState) RemainingNonReaders(c events.Conversation, id string, after, limit int) (projections.NonReaderPage, error) {
	page, err := s.NonReaders(c, id, after, limit)
	page.Users = slices.DeleteFunc(slices.Clone(page.Users), func(user string) bool { return s.left[user] })
	page.Total = len(page.Users)
	return page, err
}

func (s *fakeState) Counts(app string, ids []string) (map[string]projections.Counts, error) {
	counts := make(map[string]projections.Counts)
	for _, id := range ids {
		m, err := s.Message(app, id)
		if errors.Is(err, projections.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		counts[id] = m.Counts
	}
	return counts, s.failure
}

func (s *fakeState) Members(app, group string, after, limit int) (projections.MemberPage, error) {
	all, ok := s.groups[in(app, group)]
	if !ok {
		return projections.MemberPage{}, projections.ErrNotFound
	}
	page := projections.MemberPage{Total: len(all), Members: all[min(after, len(all)):]}
	if len(page.Members) > limit {
		page.Members, page.Next = page.Members[:limit], after+limit
	}
	return page, s.failure
}

// WasMember: nobody ever left.
func (s *fakeState) WasMember(app, group, user string) (bool, error) {
	return s.IsMember(app, group, user)
}

func (s *fakeState) IsMember(app, group, user string) (bool, error) {
	return s.members[in(app, group, user)], s.failure
}

func (s *fakeState) Conversations(app, user string) ([]projections.ConversationView, error) {
	return s.conversations[in(app, user)], s.failure
}

func (s *fakeState) UnreadMessages(app, group, peer, user string, after uint64, limit int) (projections.UnreadPage, error) {
	if _, err := s.WishesIn(app, group, peer, user); err != nil {
		return projections.UnreadPage{}, err
	}
	all := s.unread
	page := projections.UnreadPage{Unread: len(all), Messages: all[min(int(after), len(all)):]}
	if len(page.Messages) > limit {
		page.Messages, page.Next = page.Messages[:limit], after+uint64(limit)
	}
	return page, s.failure
}

func (s *fakeState) GroupMessages(app, group string, before uint64, limit int) (projections.MessagePage, error) {
	if _, ok := s.groups[in(app, group)]; !ok {
		return projections.MessagePage{}, projections.ErrNotFound
	}
	var page projections.MessagePage
	for seq := len(s.sent); seq > 0; seq-- {
		if before > 0 && uint64(seq) >= before {
			continue
		}
		if len(page.Messages) == limit {
			page.Next = uint64(seq) + 1
			break
		}
		page.Messages = append(page.Messages, s.sent[seq-1])
	}
	return page, s.failure
}

// Reads has in each of the user's conversations as many reads as its unread count says.
func (s *fakeState) Reads(app, group, peer, user string, before uint64, limit int) (projections.ReadPage, error) {
	for _, v := range s.conversations[in(app, user)] {
		if v.Group != group || v.Peer != peer {
			continue
		}
		page := projections.ReadPage{Looked: v.Unread + s.looked}
		for seq := v.Unread; seq > 0; seq-- {
			if before > 0 && uint64(seq) >= before {
				continue
			}
			if len(page.Reads) == limit {
				page.Next = uint64(seq) + 1
				break
			}
			page.Reads = append(page.Reads, projections.Read{ID: "m" + strconv.Itoa(seq), From: "alice", SentAt: sentAt, ReadAt: sentAt})
		}
		return page, s.failure
	}
	return projections.ReadPage{}, projections.ErrNotFound
}

func (s *fakeState) WishesIn(app, group, peer, user string) (projections.Wishes, error) {
	w, ok := s.wishes[in(app, user, group, peer)]
	if !ok {
		return w, projections.ErrNotFound
	}
	return w, s.failure
}

func (s *fakeState) Wishes(app, user string) ([]projections.Wishes, error) {
	return []projections.Wishes{s.wishes[in(app, user)], s.wishes[in(app, user)]}, s.failure
}

func (s *fakeState) SeesNobody(app, group, peer, user string) (bool, error) {
	return s.seesNobody[in(app, group, peer, user)], s.failure
}

func (s *fakeState) Positions(app, group string, after, limit int) (projections.PositionPage, error) {
	all, ok := s.positions[in(app, group)]
	if !ok {
		return projections.PositionPage{}, projections.ErrNotFound
	}
	page := projections.PositionPage{Sent: 9, Members: all[min(after, len(all)):]}
	if len(page.Members) > limit {
		page.Members, page.Next = page.Members[:limit], after+limit
	}
	return page, s.failure
}

func (s *fakeState) Summary(app, user, device string) (projections.Summary, []uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return projections.Summary{Items: slices.Clone(s.summaries[in(app, user, device)]), Dropped: s.dropped}, slices.Clone(s.upto), s.failure
}

func (s *fakeState) setSummary(user string, upto []uint64, items ...projections.SummaryItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.summaries[in(testApp, user, "")], s.upto = items, upto
}

func (s *fakeState) Rejections(_ string, limit int) ([]projections.Rejection, error) {
	return s.rejections[:min(limit, len(s.rejections))], s.failure
}

func (s *fakeState) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	return s.outcomes(ctx, partition, sequence)
}

func (s *fakeState) Ready() error { return s.notReady }

// fakeLog keeps what was submitted: every request becomes one entry in each of two partitions, with
// the events alternating between them.
type fakeLog struct {
	mu        sync.Mutex
	events    []events.Event
	sequence  uint64
	submitErr error
	waitErr   error
	block     chan struct{} // if set, Submit waits for it or for its context
}

func (l *fakeLog) Submit(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	if l.block != nil {
		select {
		case <-l.block:
		case <-ctx.Done():
			return nil, eventlog.ErrOverloaded
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.submitErr != nil {
		return nil, l.submitErr
	}
	for _, e := range evs {
		// Copied, as the real log does by encoding: the gateway uses the memory again.
		for _, s := range []*string{&e.Group, &e.Peer, &e.User, &e.Message, &e.Content, &e.EventID} {
			*s = strings.Clone(*s)
		}
		e.Members, e.Admins = cloneAll(e.Members), cloneAll(e.Admins)
		l.events = append(l.events, e)
	}
	l.sequence++
	return fakeTicket(l.sequence, len(evs), l.waitErr), nil
}

func cloneAll(list []string) []string {
	list = slices.Clone(list)
	for i := range list {
		list[i] = strings.Clone(list[i])
	}
	return list
}

func (l *fakeLog) taken() []events.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.events
	l.events = nil
	return taken
}

// fakeTicket is that of n events, which alternate between two partitions. With
// context.DeadlineExceeded they are never stored.
func fakeTicket(sequence uint64, n int, err error) *eventlog.Ticket {
	if errors.Is(err, context.DeadlineExceeded) {
		sequence, err = 0, nil
	}
	locations := make([]eventlog.Location, n)
	for i := range locations {
		// Other requests' events come first in the entry.
		locations[i] = eventlog.Location{Partition: i % 2, Sequence: sequence, Index: i/2 + 3}
	}
	return eventlog.NewTicket(locations, err)
}

// fakeCommands puts settings in force at once, and records what was seen.
type fakeCommands struct {
	state   *fakeState
	failure error

	mu   sync.Mutex
	seen []seenCall
}

type seenCall struct {
	app, user, device string
	upto              []uint64
}

func (c *fakeCommands) Configure(_ context.Context, app string, s events.Settings) (events.Settings, error) {
	c.state.mu.Lock()
	defer c.state.mu.Unlock()
	if c.failure != nil {
		return events.Settings{}, c.failure
	}
	c.state.settings[app] = s
	return s, nil
}

func (c *fakeCommands) ConfigureUser(ctx context.Context, app, user string, change gateway.WishChange) (projections.Wishes, error) {
	w := change.Of(c.state.wishes[in(app, user)])
	c.state.wishes[in(app, user)] = w
	return w, c.failure
}

func (c *fakeCommands) ConfigureUserIn(ctx context.Context, app, group, peer, user string, change gateway.WishChange) (projections.Wishes, error) {
	w, err := c.state.WishesIn(app, group, peer, user)
	if err != nil {
		return w, err
	}
	c.state.wishes[in(app, user, group, peer)] = change.Of(w)
	return change.Of(w), c.failure
}

func (c *fakeCommands) Seen(_ context.Context, app, user, device string, upto []uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, seenCall{app, user, device, upto})
	return c.failure
}

func (c *fakeCommands) seenCalls() []seenCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.seen)
}

// fakeAnalytics answers with rows of a test, and records what it was asked last.
type fakeAnalytics struct {
	rows  []projections.RateRow
	total int
	err   error

	mu    sync.Mutex
	query projections.RateQuery
}

func (a *fakeAnalytics) ReadRates(_ context.Context, q projections.RateQuery) ([]projections.RateRow, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.query = q
	return a.rows, a.err
}

func (a *fakeAnalytics) Rates(ctx context.Context, q projections.RateQuery) (gateway.Rates, error) {
	rows, err := a.ReadRates(ctx, q)
	total := a.total
	if total == 0 {
		total = len(rows)
	}
	return gateway.Rates{Rows: rows, Total: total, Source: gateway.SourceClickHouse, AsOf: sentAt, BehindEntries: 3, BehindMS: 250}, err
}

func (a *fakeAnalytics) asked() projections.RateQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.query
}

// fakeNotary knows one partition of a log of two entries, and one receipt.
type fakeNotary struct{}

func (fakeNotary) Key() string { return "log+00000000+AQ==" }

func (fakeNotary) Checkpoint(partition int, size uint64) (string, error) {
	if partition != 0 || size > 2 {
		return "", merkle.ErrOutside
	}
	return fmt.Sprintf("log/%dof2\n%d\n", partition, size), nil
}

func (n fakeNotary) Consistency(partition int, from, to uint64) (c merkle.Consistency, err error) {
	c.Proof = []merkle.Hash{{byte(from)}, {byte(to)}}
	c.From, err = n.Checkpoint(partition, from)
	return c, err
}

func (n fakeNotary) Inclusion(partition int, sequence, size uint64) (i merkle.Inclusion, err error) {
	i.Sequence, i.Path = sequence, []merkle.Hash{}
	i.Checkpoint, err = n.Checkpoint(partition, size)
	return i, err
}

func (fakeNotary) Evidence(_ context.Context, c events.Conversation, message, user string, wholeEntry bool) ([]byte, error) {
	switch {
	case user == "long ago":
		return nil, eventlog.ErrTrimmed
	case user != "bob":
		return nil, projections.ErrNotFound
	}
	e := merkle.Evidence{App: c.App, Event: []byte(`{"message":"` + message + `","group":"` + c.Group + `"}`), Path: []merkle.Hash{}}
	if wholeEntry {
		e.Data = []byte("entry")
	}
	return e.Encode()
}
