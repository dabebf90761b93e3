package oracle

import (
	"slices"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

func TestClusterGathersThePartitions(t *testing.T) {
	c := NewCluster(2, DefaultLimits())
	for p := range 2 {
		c.Apply(p, 1, start, []events.Event{configure(1, nil)})
	}
	c.Apply(1, 2, start, []events.Event{create("g1", "a", "b"), ask("g1", "m", "a"), read("g1", "m", "b")})
	c.Apply(0, 2, start+1, []events.Event{create("g2", "a", "c"), ask("g2", "m", "a"), read("g2", "m", "c"), single("b", say("", "m", "a"))})
	c.Poison(0, 3, start+2, "poison")

	if c.Of(group("g1")) != c.Partitions[1] || c.Of(chat("b", "a")) != c.Partitions[0] || c.Of(group("g3")) != nil {
		t.Error("a conversation is in the wrong partition")
	}
	var messages []string
	for _, msg := range c.Messages(theApp, "m") {
		messages = append(messages, msg.Group+msg.To)
	}
	if want := []string{"g2", "b", "g1"}; !slices.Equal(messages, want) {
		t.Errorf("messages %q, want %q", messages, want)
	}
	if got, want := c.Conversations(theApp, "a"), []projections.ConversationView{{Group: "g1"}, {Group: "g2"}, {Peer: "b"}}; !slices.Equal(got, want) {
		t.Errorf("conversations %+v, want %+v", got, want)
	}
	if got := c.Summary(theApp, "a"); len(got) != 2 || got[0].Group != "g1" || got[1].Group != "g2" {
		t.Errorf("summary %+v", got)
	}
	if got, want := c.Users(theApp), []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("users %q, want %q", got, want)
	}
	if got := c.Partitions[0].Poisoned(); len(got) != 1 {
		t.Errorf("poisoned %+v", got)
	}
}
