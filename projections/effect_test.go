package projections_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

const theApp = "o#a"

// told folds events, each in an entry of its own, with everybody online, and returns what of what
// the last of them did users are told.
func told(t *testing.T, settings events.Settings, evs ...events.Event) (list []string) {
	t.Helper()
	part, err := projections.Open(0, memory{}, projections.Options{
		Online: func(_, _ string) bool { return true }, TrackFacts: true, TrackCohorts: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	evs = append([]events.Event{{Kind: events.AppConfigured, Settings: &settings, Revision: 1}}, evs...)
	var batch events.Batch
	for i := range evs {
		part.TakeEffects(nil)
		part.TakeFacts(nil)
		part.TakeCohorts(nil)
		evs[i].App = theApp
		batch.SetEvents(evs[i : i+1])
		out, err := part.Apply(projections.Decoded{Sequence: uint64(i + 1), At: int64(i + 1), Batch: &batch})
		if err != nil || out[0].Rejected() {
			t.Fatalf("%s: %v %s: %v", evs[i].Kind, out, out[0].Reason(), err)
		}
	}
	for _, e := range part.TakeEffects(nil) {
		if e.Own {
			list = append(list, fmt.Sprintf("%s: own %s %s%s%s unread %d", e.To, e.Kind, e.Message, e.Group, e.Peer, e.Unread))
		} else {
			list = append(list, fmt.Sprintf("%s: %s %s by %s", e.To, e.Kind, e.Message, e.Reader))
		}
	}
	for _, f := range part.TakeFacts(nil) {
		list = append(list, fmt.Sprintf("fact: %s %s by %s", f.Kind, f.Message, f.User))
	}
	if len(part.TakeCohorts(nil)) > 0 {
		list = append(list, "cohort")
	}
	return list
}

// TestWhoIsTold: what is hidden reaches nobody but the reader's own devices.
func TestWhoIsTold(t *testing.T) {
	open := events.DefaultSettings()
	open.GroupReceipts.Enabled = true
	with := func(change func(*events.Settings)) events.Settings {
		s := open
		change(&s)
		return s
	}
	never := with(func(s *events.Settings) { s.ReadReceipts = events.ReadReceiptsNever })
	always := with(func(s *events.Settings) { s.ReadReceipts = events.ReadReceiptsAlways })
	counts := with(func(s *events.Settings) {
		s.GroupReceipts.MaxGroupSize, s.GroupReceipts.AboveLimit = 1, events.AboveLimitCounts
	})
	reciprocal := with(func(s *events.Settings) { s.Reciprocal = true })

	group := []events.Event{
		{Kind: events.GroupCreated, Group: "g", User: "ann", Members: []string{"ben"}},
		{Kind: events.MessageSent, Group: "g", User: "ann", Message: "m", Receipt: true},
	}
	chat := []events.Event{{Kind: events.MessageSent, User: "ann", Peer: "ben", Message: "m"}}
	readInGroup := events.Event{Kind: events.MessageRead, Group: "g", User: "ben", Message: "m"}
	readInChat := events.Event{Kind: events.MessageRead, Peer: "ann", User: "ben", Message: "m"}
	delivered := events.Event{Kind: events.MessageDelivered, Peer: "ann", User: "ben", Message: "m"}
	chatRead := events.Event{Kind: events.ConversationRead, Peer: "ann", User: "ben"}
	groupRead := events.Event{Kind: events.ConversationRead, Group: "g", User: "ben"}
	hide := func(user, group, peer string, choice events.Choice) events.Event {
		return events.Event{
			Kind: events.UserConfigured, User: user, Group: group, Peer: peer, SendReads: choice, SendDeliveries: choice, Revision: 1,
		}
	}
	const (
		ownInGroup = "ben: own message.read mg unread 1"
		ownInChat  = "ben: own message.read mann unread 1"
		ownChat    = "ben: own conversation.read ann unread 0"
		ownGroup   = "ben: own conversation.read g unread 0"
		annIsTold  = "ann: message.read m by ben"
		fact       = "fact: message.read m by ben"
		hidden     = events.ChoiceHide
	)
	for name, x := range map[string]struct {
		settings events.Settings
		before   []events.Event
		last     []events.Event
		want     []string
	}{
		"a group's message":                 {open, group, []events.Event{readInGroup}, []string{ownInGroup, annIsTold, fact, "cohort"}},
		"a message that is counted":         {counts, group, []events.Event{readInGroup}, []string{ownInGroup, "ann: message.read m by ", "fact: message.read m by ", "cohort"}},
		"hidden from a group":               {open, group, []events.Event{hide("ben", "", "", hidden), readInGroup}, []string{ownInGroup}},
		"hidden in the group alone":         {open, group, []events.Event{hide("ben", "g", "", hidden), readInGroup}, []string{ownInGroup}},
		"hidden but in the group":           {open, group, []events.Event{hide("ben", "", "", hidden), hide("ben", "g", "", events.ChoiceSend), readInGroup}, []string{ownInGroup, annIsTold, fact, "cohort"}},
		"nobody tells":                      {never, group, []events.Event{readInGroup}, []string{ownInGroup}},
		"everybody tells":                   {always, group, []events.Event{hide("ben", "", "", hidden), hide("ben", "g", "", hidden), readInGroup}, []string{ownInGroup, annIsTold, fact, "cohort"}},
		"somebody else hides":               {open, group, []events.Event{hide("ann", "", "", hidden), readInGroup}, []string{ownInGroup, annIsTold, fact, "cohort"}},
		"the author hides, reciprocally":    {reciprocal, group, []events.Event{hide("ann", "", "", hidden), readInGroup}, []string{ownInGroup, fact, "cohort"}},
		"a chat's message":                  {open, chat, []events.Event{readInChat}, []string{ownInChat, annIsTold, fact, "cohort"}},
		"hidden in a chat":                  {open, chat, []events.Event{hide("ben", "", "ann", hidden), readInChat}, []string{ownInChat}},
		"a delivery":                        {open, chat, []events.Event{delivered}, []string{"ann: message.delivered m by ben", "fact: message.delivered m by ben", "cohort"}},
		"a hidden delivery":                 {open, chat, []events.Event{hide("ben", "", "", hidden), delivered}, nil},
		"a delivery where nobody reads":     {never, chat, []events.Event{delivered}, []string{"ann: message.delivered m by ben", "fact: message.delivered m by ben", "cohort"}},
		"a delivery to one who hides reads": {reciprocal, chat, []events.Event{hide("ann", "", "", hidden), delivered}, []string{"ann: message.delivered m by ben", "fact: message.delivered m by ben", "cohort"}},
		"a chat":                            {open, chat, []events.Event{chatRead}, []string{ownChat, "ann: conversation.read  by ben", fact, "cohort"}},
		"a hidden chat":                     {open, chat, []events.Event{hide("ben", "", "", hidden), chatRead}, []string{ownChat}},
		"a chat, reciprocally":              {reciprocal, chat, []events.Event{hide("ann", "", "ben", hidden), chatRead}, []string{ownChat, fact, "cohort"}},
		"a group":                           {open, group, []events.Event{groupRead}, []string{ownGroup}},
		"a mark":                            {open, chat, []events.Event{{Kind: events.ConversationMarkedUnread, Peer: "ann", User: "ben"}}, []string{"ben: own conversation.marked_unread ann unread 1"}},
		// What was hidden stays hidden.
		"a repeat after hiding": {open, group, []events.Event{
			hide("ben", "g", "", hidden), readInGroup,
			{Kind: events.UserConfigured, User: "ben", Group: "g", SendReads: events.ChoiceSend, Revision: 2}, readInGroup,
		}, nil},
		"a chat read message by message while hidden": {open, chat, []events.Event{
			hide("ben", "", "", hidden), chatRead,
			{Kind: events.UserConfigured, User: "ben", SendReads: events.ChoiceSend, Revision: 2}, readInChat,
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := told(t, x.settings, slices.Concat(x.before, x.last)...); !slices.Equal(got, x.want) {
				t.Errorf("got  %q\nwant %q", got, x.want)
			}
		})
	}
}

// TestOwnReadsNameTheirEvent: a device knows by it what it did itself, but not what was parked.
func TestOwnReadsNameTheirEvent(t *testing.T) {
	part, err := projections.Open(0, memory{}, projections.Options{Online: func(_, _ string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	settings := events.DefaultSettings()
	var batch events.Batch
	batch.SetEvents([]events.Event{
		{App: theApp, Kind: events.AppConfigured, Settings: &settings, Revision: 1},
		{App: theApp, Kind: events.MessageSent, User: "ann", Peer: "ben", Message: "m1", EventID: "s1"},
		{App: theApp, Kind: events.ConversationRead, User: "ben", Peer: "ann", EventID: "r1"},
		{App: theApp, Kind: events.ConversationRead, User: "ben", Peer: "ann", Message: "m2", EventID: "r2"},
		{App: theApp, Kind: events.MessageSent, User: "ann", Peer: "ben", Message: "m2", EventID: "s2"},
	})
	if _, err := part.Apply(projections.Decoded{Sequence: 1, At: 1, Batch: &batch}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range part.TakeEffects(nil) {
		if e.Own {
			ids = append(ids, e.EventID)
		}
	}
	if !slices.Equal(ids, []string{"r1", ""}) {
		t.Errorf("ids %q", ids)
	}
}
