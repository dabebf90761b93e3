package clickhouse

import (
	"encoding/json"
	"fmt"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/merkle"
	"github.com/receiptd/receiptd/projections"
)

// Add adds an entry that was folded: its events, what was decided about each of them, and the facts
// that followed, in the order of the events. It copies what it keeps.
func (b *Block) Add(x *projections.Decoded, outcomes []events.Outcome, facts []projections.Fact) error {
	batch := x.Batch
	b.begin(x)
	b.interned.reset(batch)
	if batch.Len() == 0 {
		n := b.extend(x, 1)
		b.columns.Outcome.values[n] = outcomeEmpty
		return nil
	}
	n := b.extend(x, batch.Len()+factRows(batch, facts))
	for i := range batch.Len() {
		said := len(facts) > 0 && facts[0].Index == i && saidByEvent(batch, &facts[0])
		if err := b.setEvent(n, batch, i, outcomes[i], said && facts[0].Label != ""); err != nil {
			return err
		}
		if said {
			b.setEffect(n, &facts[0], b.internSender(&facts[0], batch.Msg[i]))
			facts = facts[1:]
		}
		n++
		for fact := uint32(1); len(facts) > 0 && facts[0].Index == i; fact++ {
			b.setFact(n, fact, batch, &facts[0])
			facts = facts[1:]
			n++
		}
	}
	return nil
}

// saidByEvent reports whether the first fact of an event is just what the event says itself. It
// shares the row of the event then.
func saidByEvent(batch *events.Batch, f *projections.Fact) bool {
	return f.Kind == batch.Kinds[f.Index]
}

// factRows counts the facts that take a row of their own.
func factRows(batch *events.Batch, facts []projections.Fact) (n int) {
	last := -1
	for i := range facts {
		if facts[i].Index == last || !saidByEvent(batch, &facts[i]) {
			n++
		}
		last = facts[i].Index
	}
	return n
}

// AddPoison adds an entry that could not be decoded, with its bytes and the reason.
func (b *Block) AddPoison(x *projections.Decoded, subject string, data []byte) error {
	return b.addBytes(x, outcomePoison, bytesExtra{Subject: subject, Data: data}, x.Poison)
}

// AddRefused adds an entry whose rows ClickHouse did not take, as its bytes, with the id that its
// producer gave it, and the reason.
func (b *Block) AddRefused(x *projections.Decoded, subject string, data []byte, id, reason string) error {
	return b.addBytes(x, outcomeBytes, bytesExtra{Subject: subject, Data: data, MsgID: id}, reason)
}

func (b *Block) addBytes(
	x *projections.Decoded, outcome int8, kept bytesExtra, reason string,
) error {
	extra, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	b.begin(x)
	n, c := b.extend(x, 1), &b.columns
	c.Outcome.values[n] = outcome
	c.Content.keys[n] = b.addOnce(&c.Content.dictionary, reason)
	c.Extra.keys[n] = b.addOnce(&c.Extra.dictionary, string(extra))
	return nil
}

// begin notes that an entry is added.
func (b *Block) begin(x *projections.Decoded) {
	if b.First == 0 {
		b.First, b.month = x.Sequence, monthOf(x.At)
	}
	b.Last, b.lastFingerprint = x.Sequence, x.Fingerprint
	b.encoded = nil
}

// extend adds rows for an entry, which are empty but for its position and time, and returns the
// first one.
func (b *Block) extend(x *projections.Decoded, rows int) (first int) {
	first = b.Rows()
	for _, c := range b.all() {
		c.extend(rows)
	}
	c := &b.columns
	fill(c.Partition.values[first:], uint16(b.Partition))
	fill(c.Sequence.values[first:], x.Sequence)
	fill(c.At.values[first:], storable(x.At))
	fill(c.Fingerprint.values[first:], x.Fingerprint)
	if x.Leaf != (merkle.Hash{}) {
		c.Leaf.keys[first] = b.addOnce(&c.Leaf.dictionary, string(x.Leaf[:]))
	}
	return first
}

// setEvent fills a row with an event and what was decided about it. labelled says that its label,
// if it has one, is counted, and with that in a column of its own.
func (b *Block) setEvent(n int, batch *events.Batch, i int, outcome events.Outcome, labelled bool) error {
	c := &b.columns
	c.Index.values[n] = uint32(i)
	// See eventExtra.
	if k := batch.Kinds[i]; k != events.RulesLevel && k != events.LogRepartitioned {
		c.Kind.values[n] = int8(batch.Kinds[i])
	}
	switch {
	case outcome.Repeated(): // it did nothing, whatever the first did
		outcome = events.OutcomeDuplicate
	case outcome == events.RejectedOtherAdmins || outcome == events.RejectedOtherMembers:
		outcome = events.RejectedGroupExists // the column knows no finer reason
	}
	c.Outcome.values[n] = int8(outcome)
	conversation := b.internConversation(batch, batch.Conv[i])
	c.App.keys[n] = conversation.app
	c.Group.keys[n] = conversation.group
	if u := batch.User[i]; u != events.None {
		c.User.keys[n] = b.intern(b.interned.users, u, &c.User.dictionary, batch.Users[u])
		c.Peer.keys[n] = conversation.peer(batch.Users[u])
	}
	if m := batch.Msg[i]; m != events.None {
		c.Message.keys[n] = b.intern(b.interned.messages, m, &c.Message.dictionary, batch.Messages[m].ID)
	}
	if len(batch.Uptos) > 0 && batch.Uptos[i] != "" {
		c.Message.keys[n] = b.key(&c.Message.dictionary, batch.Uptos[i])
	}
	if len(batch.Content) > 0 && batch.Content[i] != events.None {
		key := &b.interned.contents[batch.Content[i]]
		if *key == 0 {
			*key = b.addOnce(&c.Content.dictionary, batch.Contents[batch.Content[i]])
		}
		c.Content.keys[n] = *key
	}
	if len(batch.Times) > 0 {
		c.ClientMS.values[n] = batch.Times[i]
	}
	c.Imported.values[n] = batch.Flags[i]&events.FlagImported != 0
	c.Receipt.values[n] = batch.Flags[i]&events.FlagReceipt != 0
	c.Strict.values[n] = batch.Flags[i]&events.FlagStrict != 0
	return b.setExtra(n, batch, i, labelled)
}

// setExtra fills the column extra with what only few events have.
func (b *Block) setExtra(n int, batch *events.Batch, i int, labelled bool) error {
	attributes := batch.AttributesOf(i)
	id := ""
	if len(batch.EventIDs) > 0 {
		id = batch.EventIDs[i]
	}
	label := ""
	if len(batch.Labels) > 0 && !labelled {
		label = batch.Labels[i]
	}
	silent := batch.Flags[i]&events.FlagSilent != 0
	if attributes == nil && id == "" && !silent && label == "" {
		return nil
	}
	x := eventExtra{EventID: id, Silent: silent, Label: label}
	if attributes != nil {
		x.Role, x.Members, x.Admins = attributes.Role, attributes.Members, attributes.Admins
		x.Settings, x.Revision, x.Upto = attributes.Settings, attributes.Revision, attributes.Upto
		x.SendReads, x.SendDeliveries, x.Device = attributes.SendReads, attributes.SendDeliveries, attributes.Device
		switch batch.Kinds[i] {
		case events.RulesLevel:
			x.Revision, x.RulesLevel = 0, attributes.Revision
		case events.LogRepartitioned:
			x.Revision, x.Repartitioned = 0, attributes.Revision
		}
	}
	text, err := json.Marshal(&x)
	if err != nil {
		return fmt.Errorf("encode %v: %w", batch.Kinds[i], err)
	}
	c := &b.columns
	c.Extra.keys[n] = b.addOnce(&c.Extra.dictionary, string(text))
	return nil
}

// setFact fills a row with a fact that is not what its event says itself.
func (b *Block) setFact(n int, fact uint32, batch *events.Batch, f *projections.Fact) {
	c := &b.columns
	c.Index.values[n] = uint32(f.Index)
	c.Fact.values[n] = fact
	c.Kind.values[n] = int8(f.Kind)
	c.Outcome.values[n] = int8(events.OutcomeApplied)
	conversation := b.internConversation(batch, batch.Conv[f.Index])
	c.App.keys[n] = conversation.app
	c.Group.keys[n] = conversation.group
	c.User.keys[n] = b.key(&c.User.dictionary, f.User)
	c.Peer.keys[n] = conversation.peer(f.User)
	c.Message.keys[n] = b.key(&c.Message.dictionary, f.Message)
	if batch.Flags[f.Index]&events.FlagImported != 0 { // it happened with its event
		c.Imported.values[n], c.ClientMS.values[n] = true, batch.Times[f.Index]
	}
	if f.Content != "" {
		c.Content.keys[n] = b.addOnce(&c.Content.dictionary, f.Content)
	}
	b.setEffect(n, f, b.key(&c.Sender.dictionary, f.Sender))
}

// setEffect fills the columns of what became of the message.
func (b *Block) setEffect(n int, f *projections.Fact, sender uint32) {
	c := &b.columns
	c.Sender.keys[n] = sender
	c.SentAt.values[n] = storable(f.SentAt)
	c.Eligible.values[n] = f.Eligible
	c.Readers.values[n] = f.Read
	if f.Label != "" {
		c.Label.keys[n] = b.key(&c.Label.dictionary, f.Label)
	}
}
