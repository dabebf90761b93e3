package projections_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"pgregory.net/rapid"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/lab/oracle"
	"github.com/receiptd/receiptd/projections"
)

// compareWithModel makes every query of the fold and compares the answers with the model's.
func compareWithModel(t *rapid.T, p *projections.Partition, model *oracle.Model) {
	t.Helper()
	for _, app := range model.Apps() {
		settings, revision, ok := p.Settings(app)
		wantSettings, wantRevision, _ := model.Settings(app)
		if !ok || !reflect.DeepEqual(settings, wantSettings) || revision != wantRevision {
			t.Fatalf("settings of %s: %+v, revision %d; model: %+v, revision %d", app, settings, revision, wantSettings, wantRevision)
		}
		compareMessages(t, p, model, app)
		compareUsers(t, p, model, app)
		compareGroups(t, p, model, app)
		compareRates(t, p, model, app)
		compareAlerts(t, p, model, app)
		same(t, "rejections of "+app, p.Rejections(app, 1000), model.Rejections(app))
	}
	compareRates(t, p, model, "")
	total, _ := p.Poison()
	if want := len(model.Poisoned()); int(total) != want {
		t.Fatalf("%d poison entries; model: %d", total, want)
	}
}

// compareAlerts compares what was decided about alerts, and what follows of it if the partition is
// the only one.
func compareAlerts(t *rapid.T, p *projections.Partition, model *oracle.Model, app string) {
	t.Helper()
	decided := p.Alerts(app)
	groups, parts := model.DecidedAlerts(app)
	same(t, "alerts of groups of "+app, decided.Groups, groups)
	same(t, "parts of alerts of "+app, decided.Parts, parts)
	list, _ := projections.JoinAlerts([]projections.PartAlerts{decided})
	alone := oracle.Cluster{Partitions: []*oracle.Model{model}}
	same(t, "alerts of "+app, list, alone.Alerts(app))
}

func compareMessages(t *rapid.T, p *projections.Partition, model *oracle.Model, app string) {
	t.Helper()
	for _, want := range model.AllMessages(app) {
		name := oracle.ConversationOf(app, want)
		got, err := p.MessageIn(name, want.ID, "")
		if err != nil || got.Message != want {
			t.Fatalf("message %s: %+v, %v; model: %+v", want.ID, got, err, want)
		}
		compareFinding(t, p, model, app, want.ID)
		if remaining, err := p.Remaining(name, want.ID); err != nil || remaining != model.Remaining(name, want.ID) {
			t.Fatalf("message %s without those who left: %+v, %v; model: %+v", want.ID, remaining, err, model.Remaining(name, want.ID))
		}
		if want.CountsOnly {
			_, readersErr := p.Readers(name, want.ID, 0, 1000)
			_, othersErr := p.NonReaders(name, want.ID, 0, 1000)
			if !errors.Is(readersErr, projections.ErrNoNames) || !errors.Is(othersErr, projections.ErrNoNames) {
				t.Fatalf("names of %s: %v, %v", want.ID, readersErr, othersErr)
			}
			continue
		}
		compareRemaining(t, p, model, name, want.ID)
		readers, err := p.Readers(name, want.ID, 0, 1000)
		if err != nil {
			t.Fatalf("readers of %s: %v", want.ID, err)
		}
		same(t, "readers of "+want.ID, readers.Readers, model.Readers(name, want.ID))
		nonReaders, err := p.NonReaders(name, want.ID, 0, 1000)
		if err != nil {
			t.Fatalf("nonreaders of %s: %v", want.ID, err)
		}
		same(t, "nonreaders of "+want.ID, nonReaders.Users, model.NonReaders(name, want.ID))
		same(t, "nonreaders of "+want.ID+" who left", nonReaders.Left, model.LeftNonReaders(name, want.ID))
		if nonReaders.Total != len(nonReaders.Users) || readers.Total != len(readers.Readers) {
			t.Fatalf("message %s: totals %d and %d for %d readers and %d nonreaders", want.ID,
				readers.Total, nonReaders.Total, len(readers.Readers), len(nonReaders.Users))
		}
	}
	if _, err := p.Message(app, "no such message"); !errors.Is(err, projections.ErrNotFound) {
		t.Fatalf("unknown message: %v", err)
	}
}

// compareRemaining compares the lists of a message without those who have left the group, page
// by page.
func compareRemaining(t *rapid.T, p *projections.Partition, model *oracle.Model, c events.Conversation, id string) {
	t.Helper()
	gone := func(user string) bool {
		is := slices.ContainsFunc(model.Members(c.App, c.Group), func(u oracle.Member) bool { return u.User == user })
		return c.Group != "" && !is
	}
	readers := slices.DeleteFunc(model.Readers(c, id), func(r projections.Reader) bool { return gone(r.User) })
	others := slices.DeleteFunc(model.NonReaders(c, id), gone)
	for at, i := 0, 0; ; i++ {
		page, err := p.RemainingReaders(c, id, at, 1)
		if err != nil || page.Total != len(readers) || len(page.Readers) != min(1, len(readers)) || len(readers) > 0 && page.Readers[0] != readers[i] {
			t.Fatalf("readers of %s who remain, page %d: %+v, %v; model: %+v", id, i, page, err, readers)
		}
		if at = page.Next; at == 0 {
			break
		}
	}
	page, err := p.RemainingNonReaders(c, id, 0, 1000)
	if err != nil || page.Total != len(others) || len(page.Left) != 0 {
		t.Fatalf("nonreaders of %s who remain: %+v, %v; model: %v", id, page, err, others)
	}
	same(t, "nonreaders of "+id+" who remain", page.Users, others)
}

// compareGroups compares who is in each group, and as what.
func compareGroups(t *rapid.T, p *projections.Partition, model *oracle.Model, app string) {
	t.Helper()
	for _, name := range model.AllConversations(app) {
		if name.Group == "" {
			continue
		}
		var want []projections.GroupMember
		owner := ""
		for _, u := range model.Members(app, name.Group) {
			want = append(want, projections.GroupMember{User: u.User, Role: u.Role})
			if u.Role == events.RoleOwner {
				owner = u.User
			}
		}
		g, err := p.Group(app, name.Group)
		page, pageErr := p.Members(app, name.Group, 0, 1000)
		if _, dissolved, _ := model.Group(app, name.Group); dissolved {
			if !errors.Is(err, projections.ErrNotFound) || !errors.Is(pageErr, projections.ErrNotFound) {
				t.Fatalf("dissolved group %s: %v, %v", name.Group, err, pageErr)
			}
			continue
		}
		if err != nil || pageErr != nil || g.Owner != owner || page.Total != len(want) || page.Next != 0 {
			t.Fatalf("group %s: owner %q, %d members, %v, %v; model: %q, %d", name.Group, g.Owner, page.Total, err, pageErr, owner, len(want))
		}
		same(t, "group "+name.Group, g.Members, want)
		same(t, "members of "+name.Group, page.Members, want)
		for i := range want {
			one, err := p.Members(app, name.Group, page.Next, 1)
			if err != nil || len(one.Members) != 1 || one.Members[0] != want[i] {
				t.Fatalf("group %s: page %d is %+v, %v", name.Group, i, one, err)
			}
			page.Next = one.Next
		}
		var messages []projections.Message
		for before, more := uint64(0), true; more; more = before != 0 {
			page, err := p.GroupMessages(app, name.Group, before, 2)
			if err != nil || len(page.Messages) > 2 {
				t.Fatalf("messages of %s: %d, %v", name.Group, len(page.Messages), err)
			}
			messages, before = append(messages, page.Messages...), page.Next
		}
		same(t, "messages of "+name.Group, messages, model.GroupMessages(app, name.Group))
		if page.Next != 0 {
			t.Fatalf("group %s: a page after the last, at %d", name.Group, page.Next)
		}
	}
}

// compareFinding asks for the message with an id, by the id alone and as each user.
func compareFinding(t *rapid.T, p *projections.Partition, model *oracle.Model, app, id string) {
	t.Helper()
	all := model.Messages(app, id)
	got, err := p.Message(app, id)
	counts, countsErr := p.Counts(app, []string{"no such message", id})
	if several := (*projections.AmbiguousError)(nil); len(all) > 1 {
		if !errors.As(err, &several) || several.ID != id || !errors.As(countsErr, &several) || several.ID != id {
			t.Fatalf("message %s: %v, counts: %v; model has %d", id, err, countsErr, len(all))
		}
	} else if err != nil || got != all[0] || countsErr != nil || len(counts) != 1 || counts[id] != got.Counts {
		t.Fatalf("message %s: %+v, %v, counts %v, %v; model: %+v", id, got, err, counts, countsErr, all[0])
	}
	for _, user := range append(model.Users(app), "") {
		var want []string
		for _, m := range all {
			name := oracle.ConversationOf(app, m)
			standing := model.Standing(name, id, user)
			found, err := p.MessageIn(name, id, user)
			if err != nil || found.Message != m || found.Standing != standing {
				t.Fatalf("message %s for %s: %+v, %v; model: %v", id, user, found, err, standing)
			}
			if user == "" || model.WasIn(name, user) {
				want = append(want, fmt.Sprint(name))
			}
		}
		holders, err := p.Holders(app, id, user, 1000)
		if err != nil {
			t.Fatalf("holders of %s for %s: %v", id, user, err)
		}
		var names []string
		for _, h := range holders {
			names = append(names, fmt.Sprint(h))
		}
		slices.Sort(names)
		slices.Sort(want)
		same(t, "holders of "+id+" for "+user, names, want)
	}
}

func compareUsers(t *rapid.T, p *projections.Partition, model *oracle.Model, app string) {
	t.Helper()
	for _, user := range model.Users(app) {
		got, err := p.Conversations(app, user)
		if err != nil {
			t.Fatalf("conversations of %s: %v", user, err)
		}
		same(t, "conversations of "+user, got, model.Conversations(app, user))
		for _, device := range []string{"", "d1", "d2", "d3", "d4", "d5", "another one"} {
			summary, _, err := p.Summary(app, user, device)
			if err != nil {
				t.Fatalf("summary of %s: %v", user, err)
			}
			same(t, "summary of "+user+" on "+device, summary.Items, model.SummaryFor(app, user, device))
			if want := model.DroppedFor(app, user, device); summary.Dropped != want {
				t.Fatalf("summary of %s on %q: %d dropped; model: %d", user, device, summary.Dropped, want)
			}
		}
		for _, c := range got {
			compareOneConversation(t, p, model, app, user, c)
		}
	}
}

// compareOneConversation compares what is asked about one conversation of a user.
func compareOneConversation(t *rapid.T, p *projections.Partition, model *oracle.Model, app, user string, c projections.ConversationView) {
	t.Helper()
	name := events.Conversation{App: app, Group: c.Group}
	if c.Group == "" {
		name.A, name.B = min(user, c.Peer), max(user, c.Peer)
	}
	var unread []projections.UnreadMessage
	for after, more := uint64(0), true; more; more = after != 0 {
		page, err := p.UnreadMessages(app, c.Group, c.Peer, user, after, 2)
		if err != nil || page.Unread != c.Unread {
			t.Fatalf("%d unread of %s in %v: %v", page.Unread, user, name, err)
		}
		unread, after = append(unread, page.Messages...), page.Next
	}
	same(t, fmt.Sprint("unread of ", user, " in ", name), unread, model.UnreadMessages(name, user))
	var reads []projections.Read
	for before, more := uint64(0), true; more; more = before != 0 {
		page, err := p.Reads(app, c.Group, c.Peer, user, before, 2)
		if err != nil || len(page.Reads) > 2 {
			t.Fatalf("reads of %s in %v: %d, %v", user, name, len(page.Reads), err)
		}
		reads, before = append(reads, page.Reads...), page.Next
	}
	same(t, fmt.Sprint("reads of ", user, " in ", name), reads, model.Reads(name, user))
	for to, want := range map[projections.Relation][]string{
		projections.RelationNotRead: model.NotRead(name, user), projections.RelationSent: model.Sent(name, user),
	} {
		var found []string
		for before, more := uint64(0), true; more; more = before != 0 {
			page, err := p.UserMessages(app, c.Group, c.Peer, user, projections.RelatedQuery{To: to, Before: before, Limit: 2})
			if err != nil || len(page.Messages) > 2 {
				t.Fatalf("messages of %s in %v, relation %d: %d, %v", user, name, to, len(page.Messages), err)
			}
			for i := range page.Messages {
				found = append(found, page.Messages[i].ID)
			}
			before = page.Next
		}
		same(t, fmt.Sprint("messages of ", user, " in ", name, ", relation ", to), found, want)
	}
	nobody, err := p.SeesNobody(app, c.Group, c.Peer, user)
	if want := model.SeesNobody(name, user); err != nil || nobody != want {
		t.Fatalf("%s in %v sees nobody: %v, %v; model: %v", user, name, nobody, err, want)
	}
	if c.Group == "" {
		return
	}
	var positions []projections.MemberPosition
	for after, more := 0, true; more; more = after != 0 {
		page, err := p.Positions(app, c.Group, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		positions, after = append(positions, page.Members...), page.Next
	}
	same(t, fmt.Sprint("positions in ", name), positions, model.Positions(app, c.Group))
}

// same compares two lists; a nil one is equal to an empty one.
func same[T any](t *rapid.T, what string, got, want []T) {
	t.Helper()
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) && len(got)+len(want) > 0 {
		t.Fatalf("%s:\n got   %+v\n model %+v", what, got, want)
	}
}
