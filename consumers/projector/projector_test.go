package projector

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/internal/lab/sim"
	"github.com/receiptd/receiptd/internal/lab/sim/history"
	"github.com/receiptd/receiptd/projections"
)

// Traffic through the real log gives the counts that are expected of it, and the same answers for
// every message and user however many partitions there are.
func TestAnswersDoNotDependOnPartitions(t *testing.T) {
	config := sim.DefaultConfig()
	config.Apps, config.Groups, config.Members, config.EarlyReads, config.Churn = 2, 30, 20, 0.05, 0.2
	var want string
	for _, partitions := range []int{1, 2, 4} {
		log := openLog(t, partitions)
		g := log.Traffic(config, 12_000)
		r := start(t, log, Options{})
		r.caughtUp()
		checkCounts(t, r.Projector, g)
		got := answers(t, r.Projector, g)
		if want == "" {
			want = got
		}
		if got != want {
			t.Errorf("with %d partitions the answers differ: %s", partitions, firstLine(got, want))
		}
		r.stop()
	}
}

// answers is what can be asked about every message and its readers, without the times, which are
// the broker's.
func answers(t *testing.T, p *Projector, g *sim.Generator) string {
	t.Helper()
	var lines []string
	users := map[string]map[string]bool{}
	g.Readers(func(app, group, id string, readers []string) {
		m := must[projections.Message](t)(p.Message(app, id))
		lines = append(lines, fmt.Sprint(app, id, m.From, m.To, m.Group, m.Counts, m.ReceiptRequested))
		in := m.Conversation(app)
		page := must[projections.ReaderPage](t)(p.Readers(in, id, 0, 5000))
		names := make([]string, len(page.Readers))
		for i, r := range page.Readers {
			names[i] = r.User
		}
		lines = append(lines, fmt.Sprint(app, id, " read by ", names))
		if group != "" && !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(readers))) {
			t.Errorf("%s, message %s: readers %v, want %v", app, id, names, readers)
		}
		rest := must[projections.NonReaderPage](t)(p.NonReaders(in, id, 0, 5000))
		lines = append(lines, fmt.Sprint(app, id, " not read by ", rest))
		if users[app] == nil {
			users[app] = map[string]bool{}
		}
		users[app][m.From] = true
	})
	for app, names := range users {
		for user := range names {
			for _, c := range must[[]projections.ConversationView](t)(p.Conversations(app, user)) {
				lines = append(lines, fmt.Sprint(app, user, c.Group, c.Peer, c.Unread))
			}
			s, _, err := p.Summary(app, user, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range s.Items {
				lines = append(lines, fmt.Sprint(app, user, x.Message, x.Group, x.Count, x.LastReader))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func firstLine(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q, not %q", a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(a), len(b))
}

// Random histories through the real log, the real encoding and the broker's clock: the model, given
// what the log has, agrees with every outcome and every answer.
func TestFoldOfTheLogIsThatOfTheModel(t *testing.T) {
	const partitions, histories = 2, 25
	log := openLog(t, partitions)
	for seed := range histories {
		for _, e := range history.Logs().Example(seed) {
			for i := range e.Events {
				e.Events[i].App += fmt.Sprint(seed) // a world for each
			}
			putHistory(log, e)
		}
	}
	r := start(t, log, Options{CacheBytes: 1})
	r.caughtUp()
	models := oracle.NewCluster(partitions, oracle.DefaultLimits())
	for k := range partitions {
		compareOutcomes(log, models, k, r.Projector)
	}
	messages := 0
	for _, app := range models.Partitions[0].Apps() {
		messages += compareMessages(t, r.Projector, models, app)
		compareUsers(t, r.Projector, models, app)
		compareRejections(t, r.Projector, models, app)
		compareRates(t, r.Projector, models, app)
	}
	if messages < 100 {
		t.Errorf("only %d messages in all", messages)
	}
	poisoned := 0
	for _, m := range models.Partitions {
		poisoned += len(m.Poisoned())
	}
	if total, latest := r.Poison(); total == 0 || int(total) != poisoned || len(latest) != poisoned {
		t.Errorf("%d poison entries, %d kept; the model has %d", total, len(latest), poisoned)
	}
}

// putHistory stores an entry of a history: its events where they belong, and poison as it is.
func putHistory(l *testLog, e history.Entry) {
	l.T.Helper()
	if e.Poison != "" {
		l.PublishRaw(events.BatchSubject(int(e.Sequence)%l.Partitions()), []byte(e.Poison))
		return
	}
	var together []events.Event
	for _, ev := range e.Events {
		switch ev.Kind {
		case events.AppConfigured, events.StatisticSeen:
			l.Put(len(together), together...)
			together = nil
			for k := range l.Partitions() {
				l.PutTo(k, ev)
			}
		default:
			together = append(together, ev)
		}
	}
	l.Put(len(together), together...)
}

// compareOutcomes gives a partition's entries to its model and compares the outcomes.
func compareOutcomes(l *testLog, models *oracle.Cluster, partition int, p *Projector) {
	l.T.Helper()
	ctx := testContext(l.T)
	reader, err := l.Read(ctx, partition, 0)
	if err != nil {
		l.T.Fatal(err)
	}
	defer reader.Close()
	var batch events.Batch
	for last := l.Last(partition); reader.Last() < last; {
		e, err := reader.Next(ctx)
		if err != nil {
			l.T.Fatal(err)
		}
		if err := events.DecodeEntry(e.Subject, e.Data, e.MsgID, l.Partitions(), &batch); err != nil {
			models.Poison(partition, e.Sequence, e.Time.UnixMilli(), err.Error())
			continue
		}
		list := make([]events.Event, batch.Len())
		for i := range list {
			batch.Event(i, &list[i])
			list[i] = clone(list[i])
		}
		want := models.Apply(partition, e.Sequence, e.Time.UnixMilli(), list)
		if got, err := p.Outcomes(ctx, partition, e.Sequence); err != nil || !slices.Equal(got, want) {
			l.T.Errorf("partition %d, entry %d: outcomes %v, %v; the model's: %v", partition, e.Sequence, got, err, want)
		}
	}
}

// clone gives an event of a batch memory of its own, as far as a model keeps it.
func clone(e events.Event) events.Event {
	for _, s := range []*string{&e.App, &e.Group, &e.Peer, &e.User, &e.Message, &e.Content, &e.EventID, &e.Device, &e.Label} {
		*s = strings.Clone(*s)
	}
	for _, list := range []*[]string{&e.Members, &e.Admins} {
		*list = slices.Clone(*list)
		for i := range *list {
			(*list)[i] = strings.Clone((*list)[i])
		}
	}
	if e.Settings != nil {
		s := *e.Settings
		s.Alerts = slices.Clone(s.Alerts)
		e.Settings = &s
	}
	return e
}

func compareMessages(t *testing.T, p *Projector, models *oracle.Cluster, app string) (seen int) {
	t.Helper()
	for _, model := range models.Partitions {
		for _, m := range model.AllMessages(app) {
			seen++
			name := oracle.ConversationOf(app, m)
			if got := must[projections.Found](t)(p.MessageIn(name, m.ID, "")); got.Message != m {
				t.Errorf("message %s: %+v; the model has %+v", m.ID, got, m)
			}
			compareFinding(t, p, models, app, m.ID)
			its := models.Of(name)
			if m.CountsOnly {
				continue // there are no lists
			}
			readers := must[projections.ReaderPage](t)(p.Readers(name, m.ID, 0, 1000))
			same(t, "readers of "+m.ID, readers.Readers, its.Readers(name, m.ID))
			rest := must[projections.NonReaderPage](t)(p.NonReaders(name, m.ID, 0, 1000))
			same(t, "nonreaders of "+m.ID, rest.Users, its.NonReaders(name, m.ID))
		}
	}
	return seen
}

// compareFinding asks for the message with an id by the id alone.
func compareFinding(t *testing.T, p *Projector, models *oracle.Cluster, app, id string) {
	t.Helper()
	all := models.Messages(app, id)
	got, err := p.Message(app, id)
	counts, countsErr := p.Counts(app, []string{id})
	if len(all) == 1 {
		if err != nil || got != all[0] || countsErr != nil || counts[id] != got.Counts {
			t.Errorf("message %s: %+v, %v, counts %v, %v; the model has %+v", id, got, err, counts, countsErr, all)
		}
		return
	}
	for _, err := range []error{err, countsErr} {
		several, ok := errors.AsType[*projections.AmbiguousError](err)
		if !ok || len(several.Conversations) != len(all) || several.More {
			t.Errorf("message %s: %v; the model has %d", id, err, len(all))
			continue
		}
		for _, m := range all {
			if !slices.Contains(several.Conversations, m.Conversation(app)) {
				t.Errorf("message %s: %v is missing", id, m.Conversation(app))
			}
		}
	}
}

func compareUsers(t *testing.T, p *Projector, models *oracle.Cluster, app string) {
	t.Helper()
	for _, user := range models.Users(app) {
		same(t, "conversations of "+user, must[[]projections.ConversationView](t)(p.Conversations(app, user)),
			models.Conversations(app, user))
		for k, model := range models.Partitions {
			s, _, err := p.SummaryAt(k, app, user, "")
			if err != nil {
				t.Fatal(err)
			}
			same(t, "statistics of "+user, s.Items, model.Summary(app, user))
		}
		s, upto, err := p.Summary(app, user, "")
		if err != nil {
			t.Fatal(err)
		}
		items := s.Items
		if sorted := slices.IsSortedFunc(items, func(a, b projections.SummaryItem) int {
			return cmp.Compare(a.At(), b.At())
		}); !sorted || len(items) != len(models.Summary(app, user)) {
			t.Errorf("statistics of %s: %v; the model has %v", user, items, models.Summary(app, user))
		}
		for k := range upto {
			if want := models.Partitions[k].Sequence(); upto[k] != want {
				t.Errorf("statistics of %s are up to %d of partition %d, folded is %d", user, upto[k], k, want)
			}
		}
	}
}

func compareRejections(t *testing.T, p *Projector, models *oracle.Cluster, app string) {
	t.Helper()
	var want []projections.Rejection
	for _, model := range models.Partitions {
		want = append(want, model.Rejections(app)...)
	}
	slices.SortStableFunc(want, func(a, b projections.Rejection) int { return cmp.Compare(b.At, a.At) })
	same(t, "rejections of "+app, must[[]projections.Rejection](t)(p.Rejections(app, 1000)), want)
	same(t, "latest rejections of "+app, must[[]projections.Rejection](t)(p.Rejections(app, 7)), want[:min(7, len(want))])
}

// same compares two lists, an absent one being equal to an empty one.
func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got   %+v\n model %+v", what, got, want)
	}
}
