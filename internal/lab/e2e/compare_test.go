package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/projections"
)

// model is the oracle's view of a server's log.
type model struct {
	cluster  *oracle.Cluster
	apps     map[string]bool
	outcomes map[int64]outcome // by the events' own times
	events   int
}

// compare asks the server everything and compares it with the model.
func (m *model) compare(s *server) {
	s.t.Helper()
	for app := range m.apps {
		m.compareApp(s, app)
		m.compareRates(s, app)
		m.compareMessages(s, app)
		for _, user := range m.cluster.Users(app) {
			m.compareUser(s, app, user)
		}
	}
	m.compareRates(s, "")
}

func (m *model) compareApp(s *server, app string) {
	s.t.Helper()
	var settings events.Settings
	s.must("GET", appPath(app), nil, &settings)
	var want []rejection
	for _, p := range m.cluster.Partitions {
		inForce, _, _ := p.Settings(app)
		same(s, "settings of "+app, settings, inForce)
		for _, r := range p.Rejections(app) {
			want = append(want, rejection{
				r.Partition, r.Sequence, r.Index, instant(r.At), r.Kind.String(), r.Group, r.Peer, r.User, r.Message, r.Outcome.Code(), r.Outcome.Reason(),
			})
		}
	}
	slices.SortStableFunc(want, func(a, b rejection) int { return cmp.Compare(b.At, a.At) })
	same(s, "rejections of "+app, s.rejections(app), want[:min(len(want), 1000)])
}

// compareRates asks for all read rates of an app, or of all, in every grouping.
func (m *model) compareRates(s *server, app string) {
	s.t.Helper()
	groupings := map[projections.RateBy]string{
		projections.ByHour: "hour", projections.ByGroup: "group", projections.BySender: "sender", projections.ByLabel: "label", projections.ByWeekHour: "weekday_hour",
	}
	path := appPath(app)
	if app == "" {
		path, groupings = "/v1", map[projections.RateBy]string{projections.ByHour: "hour", projections.ByApp: "app"}
	}
	for by, name := range groupings {
		want, total := m.cluster.Rates(projections.RateQuery{App: app, To: math.MaxInt64, By: by, Limit: 1000})
		var answer struct {
			Rows []struct {
				Key                                           string
				Messages, Eligible, Delivered, Read, Recalled uint64
				ReadRate                                      float64  `json:"read_rate"`
				P50                                           float64  `json:"p50_ms"`
				P90                                           float64  `json:"p90_ms"`
				P99                                           float64  `json:"p99_ms"`
				R50                                           *float64 `json:"recipients_p50_ms"`
				R90                                           *float64 `json:"recipients_p90_ms"`
			}
			Total int
		}
		s.must("GET", path+"/analytics/read-rate?limit=1000&from=0&to=9223372036854775807&group_by="+name, nil, &answer)
		if len(answer.Rows) != len(want) || answer.Total != total {
			s.t.Fatalf("rates of %s by %s: %d rows, want %d", app, name, len(answer.Rows), len(want))
		}
		for i, r := range answer.Rows {
			got := projections.RateRow{
				Key: r.Key, P50: r.P50, P90: r.P90, P99: r.P99, R50: projections.NotYet, R90: projections.NotYet,
				CohortCounts: projections.CohortCounts{Messages: r.Messages, Eligible: r.Eligible, Delivered: r.Delivered, Read: r.Read, Recalled: r.Recalled},
			}
			if r.R50 != nil {
				got.R50 = *r.R50
			}
			if r.R90 != nil {
				got.R90 = *r.R90
			}
			if what := want[i].Differs(got); what != "" || r.ReadRate != want[i].Rate() {
				s.t.Fatalf("rates of %s by %s, row %d: %s: %+v; model: %+v", app, name, i, what, r, want[i].CohortCounts)
			}
		}
	}
}

// message is a message as the server shows it.
type message struct {
	ID, From, Group, To       string
	SentAt                    instant `json:"sent_at"`
	ReceiptRequested          bool    `json:"receipt_requested"`
	Recalled                  bool
	Eligible, Delivered, Read int
	FirstReadAt               instant `json:"first_read_at"`
	LastReadAt                instant `json:"last_read_at"`
}

func shown(m *projections.Message) message {
	return message{
		m.ID, m.From, m.Group, m.To, instant(m.SentAt), m.ReceiptRequested, m.Recalled, m.Eligible, m.Delivered, m.Read,
		instant(m.FirstReadAt), instant(m.LastReadAt),
	}
}

// named is the query that names a conversation.
func named(c events.Conversation) string {
	if c.Group != "" {
		return "group=" + url.QueryEscape(c.Group)
	}
	return "users=" + url.QueryEscape(c.A) + "&users=" + url.QueryEscape(c.B)
}

// countedIn is a message as messages:counts is asked for it, with the conversation.
func countedIn(c events.Conversation, id string) map[string]any {
	if c.Group != "" {
		return map[string]any{"id": id, "group": c.Group}
	}
	return map[string]any{"id": id, "users": []string{c.A, c.B}}
}

func (m *model) compareMessages(s *server, app string) {
	s.t.Helper()
	byID := map[string]int{}
	for _, of := range m.cluster.Partitions {
		for _, msg := range of.AllMessages(app) {
			id, name := msg.ID, oracle.ConversationOf(app, msg)
			byID[id]++
			in := named(name)
			var got message
			s.must("GET", messagePath(app, id)+"?"+in, nil, &got)
			same(s, "message "+id+" of "+app, got, shown(&msg))
			var answer struct{ Messages []counts }
			s.must("POST", appPath(app)+"/messages:counts", map[string]any{"messages": []any{countedIn(name, id)}}, &answer)
			same(s, "counts of "+id, answer.Messages, []counts{{msg.Eligible, msg.Delivered, msg.Read}})
			if msg.CountsOnly {
				err := s.call("GET", messagePath(app, id)+"/readers?"+in, nil, nil)
				if refused := (*refusal)(nil); !errors.As(err, &refused) || refused.Body.Code != "names_not_kept" {
					s.t.Errorf("readers of %s, who are counted: %v", id, err)
				}
				continue
			}
			want := []reader{}
			for _, r := range of.Readers(name, id) {
				want = append(want, reader{r.User, instant(r.ReadAt), r.Content})
			}
			same(s, "readers of "+id, s.readers(app, id, 2, in), want)
			same(s, "nonreaders of "+id, s.nonReaders(app, id, 2, in), append([]string{}, of.NonReaders(name, id)...))
		}
	}
	// The id alone is enough where it is that of one message, and is ambiguous elsewhere.
	for id, n := range byID {
		var got message
		err := s.call("GET", messagePath(app, id), nil, &got)
		if refused := (*refusal)(nil); n > 1 && (!errors.As(err, &refused) || refused.Body.Code != "ambiguous") {
			s.t.Errorf("message %s of %s, of %d conversations: %v", id, app, n, err)
		} else if n == 1 && (err != nil || got.ID != id) {
			s.t.Errorf("message %s of %s: %v", id, app, err)
		}
	}
}

// conversation is one of a user's list.
type conversation struct {
	Group, Peer string
	Unread      int
	LastReadAt  instant `json:"last_read_at"`
	Marked      bool    `json:"marked_unread"`
}

// summaryItem is a message of an author's summary.
type summaryItem struct {
	MID, GID    string
	Count       int
	LastReader  string  `json:"last_reader"`
	FirstReadAt instant `json:"first_read_at"`
	LastReadAt  instant `json:"last_read_at"`
}

func (m *model) compareUser(s *server, app, user string) {
	s.t.Helper()
	var list struct{ Conversations []conversation }
	s.must("GET", appPath(app)+"/users/"+user+"/conversations", nil, &list)
	conversations := []conversation{}
	for _, c := range m.cluster.Conversations(app, user) {
		conversations = append(conversations, conversation{c.Group, c.Peer, c.Unread, instant(c.LastReadAt), c.Marked})
	}
	same(s, "conversations of "+user, list.Conversations, conversations)

	var got summary
	s.must("GET", appPath(app)+"/users/"+user+"/statistics", nil, &got)
	same(s, "summary of "+user, got, m.summary(app, user))
}

// summary is what an author has not seen.
type summary struct {
	GroupAck        []summaryItem     `json:"group_ack"`
	SingleAck       []singleAck       `json:"single_ack"`
	ConversationAck []conversationAck `json:"conversation_ack"`
}

type singleAck struct {
	MID, Peer   string
	DeliveredAt instant `json:"delivered_at"`
	ReadAt      instant `json:"read_at"`
}

type conversationAck struct {
	Peer   string
	ReadAt instant `json:"read_at"`
}

func (m *model) summary(app, user string) (want summary) {
	items := m.cluster.Summary(app, user)
	for _, i := range items {
		last := instant(i.LastReadAt)
		switch i.Kind {
		case projections.SummaryGroupRead:
			want.GroupAck = append(want.GroupAck, summaryItem{i.Message, i.Group, i.Count, i.LastReader, instant(i.FirstReadAt), last})
		case projections.SummaryConversationRead:
			want.ConversationAck = append(want.ConversationAck, conversationAck{i.Peer, last})
		default:
			want.SingleAck = append(want.SingleAck, singleAck{i.Message, i.Peer, instant(i.DeliveredAt), last})
		}
	}
	return want
}

// same compares an answer with what it should be; an empty list may be absent.
func same[T any](s *server, what string, got, want T) {
	s.t.Helper()
	if !reflect.DeepEqual(got, want) && fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("%s:\n  server %+v\n  want   %+v", what, got, want)
	}
}
