package clickhouse

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/projections"
)

// fortnight is two weeks of an app, in ClickHouse and in the model.
type fortnight struct {
	t      testing.TB
	store  *Store
	model  *oracle.Model
	random *rand.Rand
	folder *folder
	block  *Block
	sent   []events.Event
	chats  map[string]int    // messages of each single chat
	joined map[string]string // when the current stays in the club began, by user
	past   int64             // when what is imported happened; 0 = nothing is imported any more
}

var (
	fortnightBegins = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	fortnightUsers  = []string{"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"}
)

// newFortnight folds the traffic of the two weeks: of groups that members join and leave, that
// change hands, that are too large or have one member, and of single chats. The first days are
// imported at their end.
func newFortnight(t testing.TB) *fortnight {
	f := &fortnight{
		t: t, store: openStore(t), model: oracle.New(3), random: rand.New(rand.NewPCG(7, 0)), folder: newFolder(t), block: &Block{Partition: 3},
		joined: map[string]string{}, chats: map[string]int{},
	}
	f.past = fortnightBegins.UnixMilli()
	f.folder.x.At = f.past + 5*24*projections.HourMillis
	settings := events.DefaultSettings()
	settings.GroupReceipts.Enabled, settings.GroupReceipts.Validity, settings.GroupReceipts.MaxGroupSize = true, 0, 6
	settings.SingleReceipts.Validity = 0
	f.add(0, events.Event{Kind: events.AppConfigured, Settings: &settings, Revision: 1})
	group := func(id, owner string, admins []string, members ...string) {
		f.add(1, events.Event{Kind: events.GroupCreated, Group: id, User: owner, Admins: admins, Members: members})
	}
	group("team", "u0", []string{"u1", "u2"}, "u1", "u3", "u4", "u3")
	group("club", "u1", nil, "u0", "u2")
	group("everybody", "u0", nil, fortnightUsers...)
	group("alone", "u5", nil)
	group("gone", "u6", []string{"u7"}, "u1")
	for i := range 3000 {
		if i == 900 {
			f.past = 0
		}
		f.step(i)
	}
	f.save()
	return f
}

func (f *fortnight) user() string { return fortnightUsers[f.random.IntN(len(fortnightUsers))] }

// step adds an event, a quarter of an hour after the one before on average.
func (f *fortnight) step(i int) {
	after := f.random.Int64N(13 * 60_000)
	group := []string{"team", "club", "club", "everybody", "alone", "gone"}[f.random.IntN(6)]
	e := events.Event{Group: group, User: f.user()}
	switch k := f.random.IntN(40); {
	case k == 0:
		e.Kind, e.Group = events.GroupJoined, "club"
	case k == 1:
		e.Kind, e.Group = events.GroupLeft, "club"
	case k == 2:
		e.Kind, e.Role = events.GroupRole, events.Role(1+f.random.IntN(3))
	case k == 3 && i > 1000:
		e = events.Event{Kind: events.GroupDissolved, Group: "gone"}
	case k == 4 && len(f.sent) > 9:
		m := f.sent[len(f.sent)-1-f.random.IntN(8)]
		e = events.Event{Kind: events.MessageRecalled, Group: m.Group, User: m.User, Peer: m.Peer, Message: m.Message}
	case k == 5:
		e.Kind, e.Revision, e.SendReads = events.UserConfigured, uint64(i+1), events.Choice(1+f.random.IntN(2))
		e.User = "u3"
	case k < 16:
		e.Kind, e.Message, e.Receipt = events.MessageSent, fmt.Sprint("m", len(f.sent)), f.random.IntN(6) > 0
		if f.random.IntN(3) == 0 {
			e.Group, e.Receipt = "", false
			for e.Peer = f.user(); e.Peer == e.User; {
				e.Peer = f.user()
			}
			e.Message = f.numbered(e.User, e.Peer)
		}
		e.Label = []string{"", "", "spring", "summer"}[f.random.IntN(4)]
		f.sent = append(f.sent, e)
	default:
		f.read(&e)
	}
	f.add(after, e)
}

// numbered is the id of the next message in a single chat: ids begin anew in each, so that chats of
// one receiver have the same ones.
func (f *fortnight) numbered(user, peer string) string {
	chat := min(user, peer) + max(user, peer)
	f.chats[chat]++
	return fmt.Sprint("c", f.chats[chat])
}

// read makes an event a receipt; now and then one whose message has not been sent yet. u7 never
// reads.
func (f *fortnight) read(e *events.Event) {
	if e.User == "u7" {
		e.User = "u1"
	}
	e.Kind, e.Message = events.MessageRead, fmt.Sprint("m", len(f.sent))
	if n := len(f.sent); n > 0 && f.random.IntN(12) > 0 {
		m := f.sent[max(0, n-1-f.random.IntN(14))]
		e.Group, e.Message = m.Group, m.Message
		if m.Peer != "" {
			e.User, e.Peer = m.Peer, m.User
			if m.Peer == "u7" {
				e.Kind = events.MessageDelivered
				return
			}
			switch f.random.IntN(4) {
			case 0:
				e.Kind = events.MessageDelivered
			case 1:
				e.Kind, e.Message = events.ConversationRead, ""
			}
		}
	}
}

func (f *fortnight) add(after int64, e events.Event) {
	e.App = testApp
	at := f.folder.x.At + after
	if f.past > 0 && !e.Kind.Internal() {
		f.past += after
		at, after = f.past, 1
		e.Imported, e.Time = true, at
	}
	f.folder.add(f.block, after, e)
	outcome := f.model.Apply(f.folder.x.Sequence, f.folder.x.At, []events.Event{e})[0]
	if e.Group == "club" && outcome == events.OutcomeApplied && (e.Kind == events.GroupCreated || e.Kind == events.GroupJoined) {
		for _, user := range append(e.Members, e.User) {
			f.joined[user] = time.UnixMilli(at).UTC().Format("2006-01-02 15:04:05.000")
		}
	}
}

func (f *fortnight) save() {
	ctx := context.Background()
	must(f.t, f.store.Insert(ctx, f.block, f.block.Token(0)))
	at, _ := f.folder.part.Position()
	var messages []MessageRow
	for _, m := range f.folder.part.TakeMessages(nil) {
		messages = append(messages, MessageRow{AppMessage: m, Version: at})
	}
	must(f.t, f.store.InsertMessages(ctx, messages))
	var cohorts []CohortRow
	for _, c := range f.folder.part.TakeCohorts(nil) {
		cohorts = append(cohorts, CohortRow{Cohort: c, Version: at})
	}
	must(f.t, f.store.InsertCohorts(ctx, 3, cohorts))
	f.store.UseDays()
}

// rows are those of a query, each as text.
func (f *fortnight) rows(sql string) (list []string) {
	f.t.Helper()
	rows, err := f.store.conn.Query(context.Background(), sql)
	if err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	defer rows.Close()
	var targets []any
	for _, c := range rows.ColumnTypes() {
		targets = append(targets, reflect.New(c.ScanType()).Interface())
	}
	for rows.Next() {
		must(f.t, rows.Scan(targets...))
		var cells []string
		for _, v := range targets {
			x := reflect.ValueOf(v).Elem()
			for x.Kind() == reflect.Pointer && !x.IsNil() {
				x = x.Elem()
			}
			cell := fmt.Sprint(x.Interface())
			if at, ok := x.Interface().(time.Time); ok {
				cell = at.UTC().Format("2006-01-02 15:04:05.000")
			}
			cells = append(cells, cell)
		}
		list = append(list, strings.Join(cells, " "))
	}
	must(f.t, rows.Err())
	return list
}

// recipient is one who could read a message, as the model knows it.
type recipient struct {
	projections.Message
	user      string
	took      int64 // -1 = not read
	delivered bool
}

func (f *fortnight) recipients() (list []recipient) {
	for _, m := range f.model.AllMessages(testApp) {
		if !m.Tracked || m.Recalled {
			continue
		}
		in := m.Conversation(testApp)
		for _, r := range f.model.Readers(in, m.ID) {
			list = append(list, recipient{m, r.User, r.ReadAt - m.SentAt, true})
		}
		for _, user := range f.model.NonReaders(in, m.ID) {
			list = append(list, recipient{m, user, -1, m.Delivered > m.Read})
		}
	}
	return list
}

// messages are the tracked ones that were not recalled.
func (f *fortnight) messages() []projections.Message {
	return slices.DeleteFunc(f.model.AllMessages(testApp), func(m projections.Message) bool { return !m.Tracked || m.Recalled })
}
