package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// fakeServer is the server behind a page, from tables that a test fills.
type fakeServer struct {
	mu         sync.Mutex
	now        time.Time
	apps       []string
	messages   map[string]projections.Message // by id
	readers    map[string][]projections.Reader
	nonReaders map[string][]string
	rows       map[projections.RateBy][]projections.RateRow
	groups     map[string][]string // members of a group
	list       []projections.UserMessage
	substitute bool
	cluster    *Cluster
	clickhouse bool
	queries    []projections.RateQuery
	alerts     []projections.Alert
	failure    error
	reading    func() // if set, is called by each question for readers
	status     Status
}

func newFakeServer() *fakeServer {
	return &fakeServer{
		now: noon, apps: []string{"acme#chat", "acme#support"}, messages: map[string]projections.Message{},
		readers: map[string][]projections.Reader{}, nonReaders: map[string][]string{},
		rows: map[projections.RateBy][]projections.RateRow{},
		status: Status{
			Version: "v1.2.3", Uptime: 26*time.Hour + 4*time.Minute, Accepted: 1_234_567, Streams: 12,
			Partitions: []PartitionStatus{
				{Partition: 0, Stored: 48_120, Applied: 48_118, Appended: 9_120_455, Folded: 9_120_400, Queued: 12, Ack: 412 * time.Microsecond},
				{Partition: 1, Stored: 47_903, Applied: 47_903, Appended: 9_087_311, Folded: 9_087_311, Ack: 388 * time.Microsecond},
			},
		},
	}
}

func (f *fakeServer) page() *Page {
	var cluster func() Cluster
	if f.cluster != nil {
		cluster = func() Cluster { return *f.cluster }
	}
	return New(Config{
		Cluster: cluster, ClickHouse: f.clickhouse,
		State: f, Rates: f, AdminKey: testKey, Registry: prometheus.NewRegistry(), Now: f.clock,
		Status: func() Status { f.mu.Lock(); defer f.mu.Unlock(); return f.status },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
}

func (f *fakeServer) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fakeServer) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *fakeServer) Alerts(string) ([]projections.Alert, int64, error) {
	return f.alerts, 0, f.failure
}

func (f *fakeServer) Apps() []string { return slices.Clone(f.apps) }

func (f *fakeServer) Message(app, id string) (projections.Message, error) {
	var found []projections.Message
	var in []events.Conversation
	for _, m := range f.messages {
		if m.ID == id && app == f.apps[0] {
			found, in = append(found, m), append(in, m.Conversation(app))
		}
	}
	switch len(found) {
	case 0:
		return projections.Message{}, errors.Join(f.failure, projections.ErrNotFound)
	case 1:
		return found[0], f.failure
	}
	return projections.Message{}, projections.NewAmbiguousError(id, in)
}

func (f *fakeServer) MessageIn(c events.Conversation, id, _ string) (projections.Found, error) {
	for _, m := range f.messages {
		if m.ID == id && m.Conversation(c.App) == c {
			return projections.Found{Message: m}, f.failure
		}
	}
	return projections.Found{}, projections.ErrNotFound
}

func (f *fakeServer) Holders(string, string, string, int) ([]events.Conversation, error) {
	return nil, errors.New("only for users")
}

func (f *fakeServer) Readers(_ events.Conversation, id string, offset, limit int) (projections.ReaderPage, error) {
	if f.reading != nil {
		f.reading()
	}
	all := f.readers[id]
	page := projections.ReaderPage{Total: len(all), Before: offset, Readers: all[min(offset, len(all)):]}
	if len(page.Readers) > limit {
		page.Readers, page.Next = page.Readers[:limit], offset+limit
	}
	return page, f.failure
}

func (f *fakeServer) NonReaders(_ events.Conversation, id string, after, limit int) (projections.NonReaderPage, error) {
	all := f.nonReaders[id]
	page := projections.NonReaderPage{Total: len(all), Users: all[min(after, len(all)):]}
	if len(page.Users) > limit {
		page.Users, page.Next = page.Users[:limit], after+limit
	}
	return page, f.failure
}

// Rates answers with the rows of the span that the query asks for, in its order.
func (f *fakeServer) Rates(_ context.Context, q projections.RateQuery) (a gateway.Rates, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queries = append(f.queries, q)
	if beyond := q.BeyondRollup(); beyond != nil && !f.clickhouse {
		return a, beyond
	}
	if q.App != f.apps[0] || f.failure != nil {
		return a, f.failure
	}
	rows := slices.Clone(f.rows[q.By])
	switch q.By {
	case projections.ByHour, projections.ByDay, projections.ByWeek, projections.ByApp:
		rows = f.inTime(&q)
	}
	page := q.Page(rows)
	return gateway.Rates{Rows: page.Rows, Total: page.Total, Substitute: f.substitute, Source: gateway.SourceEmbedded}, nil
}

// inTime adds up the hours of a query.
func (f *fakeServer) inTime(q *projections.RateQuery) []projections.RateRow {
	sums := projections.NewRateSums(projections.RateQuery{App: q.App, By: q.By, Zone: q.Zone, Bins: q.Bins, Limit: 1_000_000})
	for _, r := range f.rows[projections.ByHour] {
		at, err := time.Parse(time.RFC3339, r.Key)
		if err != nil {
			panic(err)
		}
		if first, last := q.Hours(); at.Unix()/3600 >= first && at.Unix()/3600 <= last {
			if q.By == projections.ByApp {
				at = noon // all in one row
			}
			sums.Add(at.UnixMilli(), &r)
		}
	}
	return sums.Page().Rows
}

func (f *fakeServer) Members(app, group string, after, limit int) (projections.MemberPage, error) {
	members, ok := f.groups[group]
	if !ok || app != f.apps[0] {
		return projections.MemberPage{}, errors.Join(f.failure, projections.ErrNotFound)
	}
	page := projections.MemberPage{Total: len(members)}
	for i, user := range members[min(after, len(members)):] {
		if i == limit {
			page.Next = after + limit
			break
		}
		page.Members = append(page.Members, projections.GroupMember{User: user})
	}
	return page, f.failure
}

func (f *fakeServer) GroupMessages(app, group string, before uint64, limit int) (projections.MessagePage, error) {
	if _, ok := f.groups[group]; !ok || app != f.apps[0] {
		return projections.MessagePage{}, errors.Join(f.failure, projections.ErrNotFound)
	}
	page := projections.MessagePage{}
	for i := len(f.list); i > 0; i-- {
		if m := f.list[i-1].Message; m.Group == group && (before == 0 || uint64(i) < before) {
			if len(page.Messages) == limit {
				page.Next = uint64(i) + 1
				break
			}
			page.Messages = append(page.Messages, m)
		}
	}
	return page, f.failure
}

func (f *fakeServer) Knows(app, user string) (bool, error) {
	all, err := f.Conversations(app, user)
	return len(all) > 0, err
}

func (f *fakeServer) Conversations(app, user string) (all []projections.ConversationView, err error) {
	for group, members := range f.groups {
		if app == f.apps[0] && slices.Contains(members, user) {
			all = append(all, projections.ConversationView{Group: group, Unread: 3, LastReadAt: noon.UnixMilli()})
		}
	}
	projections.SortConversations(all)
	return all, f.failure
}

// UserMessages has the messages of the list by those who have sent and read them.
func (f *fakeServer) UserMessages(_, group, _, user string, q projections.RelatedQuery) (page projections.UserMessagePage, err error) {
	for i := len(f.list); i > 0; i-- {
		m := f.list[i-1]
		is := projections.RelationNotRead
		switch {
		case m.From == user:
			is = projections.RelationSent
		case m.ReadAt != 0:
			is = projections.RelationRead
		}
		if m.Group != group || is != q.To || q.Before > 0 && uint64(i) >= q.Before {
			continue
		}
		if len(page.Messages) == q.Limit {
			page.Next = uint64(i) + 1
			break
		}
		page.Messages = append(page.Messages, m)
	}
	return page, f.failure
}

// fill makes 30 days of a busy app: days and nights, a weekend, readers that take seconds to days.
func (f *fakeServer) fill() {
	random := rand.New(rand.NewPCG(7, 7))
	last := f.now.Unix() / 3600
	for h := last - 30*24; h <= last; h++ {
		at := time.Unix(h*3600, 0).UTC()
		busy := 0.08 + math.Pow(math.Max(0, math.Sin(math.Pi*(float64(at.Hour())-6)/17)), 1.5)
		if d := at.Weekday(); d == time.Saturday || d == time.Sunday {
			busy *= 0.45
		}
		messages := uint64(900 * busy * (0.9 + 0.2*random.Float64()))
		age := float64(last-h) + 0.4
		row := projections.RateRow{Key: at.Format(time.RFC3339)}
		row.Messages, row.Eligible = messages, messages*31
		row.Read = uint64(float64(row.Eligible) * (0.93 - 0.1*busy) * (1 - math.Exp(-age*1.1)))
		row.Delivered = row.Read + uint64(float64(row.Eligible-row.Read)*0.35)
		row.Recalled = messages / 90
		spread(random, &row, 40_000+80_000*(1-busy), math.Min(age*3_600_000, 72*3_600_000))
		f.rows[projections.ByHour] = append(f.rows[projections.ByHour], row)
	}
	for i := range 140 {
		g := projections.RateRow{Key: fmt.Sprintf("18248%010d", 7_919*(i+3)%100_003*1_009)}
		g.Messages = uint64(42_000 / math.Pow(float64(i+1), 0.9))
		g.Eligible = g.Messages * uint64(4+random.IntN(90))
		g.Read = uint64(float64(g.Eligible) * (0.35 + 0.6*random.Float64()))
		g.Delivered = g.Read
		g.R50, g.R90 = projections.NotYet, projections.NotYet
		if 2*g.Read > g.Eligible {
			g.R50 = float64(60_000 + random.Int64N(600_000))
		}
		g.P50, g.P90, g.P99 = float64(30_000+random.Int64N(60_000)), float64(800_000+random.Int64N(4_000_000)), float64(9_000_000+random.Int64N(90_000_000))
		f.rows[projections.ByGroup] = append(f.rows[projections.ByGroup], g)
		g.Key = fmt.Sprintf("user%07d", 31*(i+11)%9_973)
		f.rows[projections.BySender] = append(f.rows[projections.BySender], g)
		if i < 5 {
			g.Key = []string{"spring sale", "onboarding", "incident", "newsletter 9", "survey"}[i]
			f.rows[projections.ByLabel] = append(f.rows[projections.ByLabel], g)
		}
	}
}

// spread gives a row times to read of a log-normal shape around a median.
func spread(random *rand.Rand, row *projections.RateRow, median, longest float64) {
	var d projections.Distribution
	counts := map[uint16]uint64{}
	const lumps = 400
	for i := range uint64(lumps) {
		n := row.Read/lumps + boolInt(i < row.Read%lumps)
		ms := math.Min(median*math.Exp(1.9*random.NormFloat64()), longest)
		bin := projections.TimeBin(int64(ms))
		if n > 0 {
			counts[bin] += n
			d.Add(bin, n)
		}
	}
	for bin := range uint16(projections.NumBins) {
		if n := counts[bin]; n > 0 {
			row.Bins = append(row.Bins, projections.BinCount{Bin: bin, Count: n})
		}
	}
	row.P50, row.P90, row.P99 = d.Percentiles()
}

func boolInt(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// fillMessage makes a message that some have read.
func (f *fakeServer) fillMessage(id string, readers, nonReaders int) {
	m := projections.Message{
		ID: id, From: "user0004711", Group: "182480000001009", SentAt: noon.Add(-3 * time.Hour).UnixMilli(), ReceiptRequested: true,
		Counts: projections.Counts{Eligible: readers + nonReaders, Delivered: readers, Read: readers},
	}
	for i := range readers {
		r := projections.Reader{User: fmt.Sprintf("user%07d", i*37+12), ReadAt: m.SentAt + int64(1800*math.Exp(float64(i)/6))%10_000_000}
		if i == 1 {
			r.Content = "on it, will be there in ten minutes"
		}
		f.readers[id] = append(f.readers[id], r)
	}
	for i := range nonReaders {
		f.nonReaders[id] = append(f.nonReaders[id], fmt.Sprintf("user%07d", i*41+1000))
	}
	f.messages[id] = m
}

// fillGroup makes a group of members with messages, of which they have read every third.
func (f *fakeServer) fillGroup(id string, members, messages int) {
	f.groups = map[string][]string{id: nil}
	for i := range members {
		f.groups[id] = append(f.groups[id], fmt.Sprintf("user%07d", i*37+12))
	}
	for i := range messages {
		m := projections.UserMessage{Message: projections.Message{
			ID: fmt.Sprintf("9982%012d", i*104_729), From: f.groups[id][i%2], Group: id, SentAt: noon.UnixMilli() - int64(messages-i)*61_000, ReceiptRequested: true, Tracked: true,
			Counts: projections.Counts{Eligible: members - 1, Delivered: i % members, Read: i % members},
		}}
		if i%3 == 0 {
			m.ReadAt, m.ReadContent = m.SentAt+95_000, "seen"
		}
		f.list = append(f.list, m)
	}
}

// filled is a server with a busy app, a message and a group.
func filled() *fakeServer {
	f := newFakeServer()
	f.fill()
	f.fillMessage("m1", 137, 14)
	f.fillGroup("182480000001009", 130, 130)
	return f
}
