package oracle

import (
	"slices"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Cluster is the models of all partitions of a log. The caller says which partition an entry
// belongs to; answers are gathered from all of them.
type Cluster struct {
	Partitions []*Model
}

// NewCluster has n partitions.
func NewCluster(n int, limits Limits) *Cluster {
	c := &Cluster{}
	for i := range n {
		c.Partitions = append(c.Partitions, NewWithLimits(i, limits))
	}
	return c
}

// Apply is [Model.Apply] on one partition.
func (c *Cluster) Apply(partition int, sequence uint64, at int64, evs []events.Event) []events.Outcome {
	return c.Partitions[partition].Apply(sequence, at, evs)
}

// Poison is [Model.Poison] on one partition.
func (c *Cluster) Poison(partition int, sequence uint64, at int64, reason string) {
	c.Partitions[partition].Poison(sequence, at, reason)
}

// Of is the model that knows the conversation, or nil.
func (c *Cluster) Of(name events.Conversation) *Model {
	for _, m := range c.Partitions {
		if m.conversation(name) != nil {
			return m
		}
	}
	return nil
}

// Messages are the messages with the id, by partition and then in the order of [Model.Messages].
func (c *Cluster) Messages(app, id string) []projections.Message {
	var found []projections.Message
	for _, m := range c.Partitions {
		found = append(found, m.Messages(app, id)...)
	}
	return found
}

// Conversations is a user's conversation list: groups by id, then single chats by peer.
func (c *Cluster) Conversations(app, user string) []projections.ConversationView {
	var list []projections.ConversationView
	for _, m := range c.Partitions {
		list = append(list, m.Conversations(app, user)...)
	}
	sortConversations(list)
	return list
}

// Summary is the author's summary: those of the partitions, merged by the times of their items.
func (c *Cluster) Summary(app, author string) []projections.SummaryItem {
	var items []projections.SummaryItem
	for _, m := range c.Partitions {
		at := 0
		for _, item := range m.Summary(app, author) {
			for at < len(items) && items[at].At() <= item.At() {
				at++
			}
			items = slices.Insert(items, at, item)
			at++
		}
	}
	return items
}

// Users are all who are or were in a conversation, sorted.
func (c *Cluster) Users(app string) []string {
	var users []string
	for _, m := range c.Partitions {
		users = append(users, m.Users(app)...)
	}
	slices.Sort(users)
	return slices.Compact(users)
}
