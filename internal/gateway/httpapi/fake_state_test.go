package httpapi

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
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
	sent          []projections.Message               // of every group, oldest first
	looked        int                                 // at messages that nobody read
	userSettings  map[string]projections.UserSettings // by app and user, and by group and peer
	seesNobody    map[string]bool                     // by app, group, peer and user
	positions     map[string][]projections.MemberPosition
	upto          []uint64
	rejections    []projections.Rejection
	alerts        []projections.Alert
	alertsUpto    int64
	outcomes      func(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error)
	notReady      error
	unsure        bool  // whether there is an app
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
		userSettings:  map[string]projections.UserSettings{}, seesNobody: map[string]bool{},
		positions: map[string][]projections.MemberPosition{},
	}
}

func in(parts ...string) string { return strings.Join(parts, "\x00") }

func (s *fakeState) FindApp(app string) (v events.Settings, revision uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.settings[app]
	switch {
	case s.unsure:
		return v, 0, projector.ErrLate
	case !ok:
		return v, 0, projector.ErrNoApp
	}
	return v, 1, nil
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
	if _, err := s.UserSettingsIn(app, group, peer, user); err != nil {
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

func (s *fakeState) Knows(app, user string) (bool, error) {
	return len(s.conversations[in(app, user)]) > 0, s.failure
}

// UserMessages is for the page.
func (s *fakeState) UserMessages(app, group, peer, user string, q projections.RelatedQuery) (page projections.UserMessagePage, err error) {
	reads, err := s.Reads(app, group, peer, user, q.Before, q.Limit)
	for _, r := range reads.Reads {
		m := projections.Message{ID: r.ID, From: r.From, Group: group, SentAt: r.SentAt}
		page.Messages = append(page.Messages, projections.UserMessage{Message: m, ReadAt: r.ReadAt})
	}
	page.Next = reads.Next
	return page, err
}

func (s *fakeState) UserSettingsIn(app, group, peer, user string) (projections.UserSettings, error) {
	w, ok := s.userSettings[in(app, user, group, peer)]
	if !ok {
		return w, projections.ErrNotFound
	}
	return w, s.failure
}

func (s *fakeState) UserSettings(app, user string) ([]projections.UserSettings, error) {
	return []projections.UserSettings{s.userSettings[in(app, user)], s.userSettings[in(app, user)]}, s.failure
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

func (s *fakeState) SummaryAfter(app, user, device string, _ map[int]uint64) (projections.Summary, []uint64, error) {
	return s.Summary(app, user, device)
}

func (s *fakeState) setSummary(user string, upto []uint64, items ...projections.SummaryItem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.summaries[in(testApp, user, "")], s.upto = items, upto
}

func (s *fakeState) Rejections(_ string, limit int) ([]projections.Rejection, error) {
	return s.rejections[:min(limit, len(s.rejections))], s.failure
}

func (s *fakeState) Alerts(string) ([]projections.Alert, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.alerts), s.alertsUpto, s.failure
}

func (s *fakeState) alert(upto int64, list ...projections.Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alerts, s.alertsUpto = append(s.alerts, list...), upto
}

func (s *fakeState) Outcomes(ctx context.Context, partition int, sequence uint64) ([]events.Outcome, error) {
	return s.outcomes(ctx, partition, sequence)
}

func (s *fakeState) Ready() error { return s.notReady }
