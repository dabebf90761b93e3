package clickhouse

import (
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// interned has, for the strings in the tables of the entry being added, their keys in the
// dictionaries of the block: each string is looked up once, however many events have it. 0 means
// that it was not looked up yet.
type interned struct {
	users, messages, contents []uint32
	senders                   []uint32 // of the messages
	conversations             []internedConversation
}

// internedConversation has the keys of a conversation; a and b stand for its two users in the
// column peer, 0 for a group.
type internedConversation struct {
	app, group, a, b uint32
	userA            string
}

// peer is the key of the other user of a single chat.
func (k *internedConversation) peer(user string) uint32 {
	if k.a == 0 || user == k.userA {
		return k.b
	}
	return k.a
}

func (k *interned) reset(batch *events.Batch) {
	k.users = resized(k.users, len(batch.Users))
	k.messages = resized(k.messages, len(batch.Messages))
	k.senders = resized(k.senders, len(batch.Messages))
	k.contents = resized(k.contents, len(batch.Contents))
	k.conversations = resized(k.conversations, len(batch.Conversations))
}

// resized returns n zeros, in the memory of a slice if it has enough.
func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// key is the key of a string that may have come before.
func (b *Block) key(column *dictionary, s string) uint32 {
	key, added := column.key(s)
	b.Bytes += added
	return key
}

// addOnce adds a string that does not come again, and returns its key.
func (b *Block) addOnce(column *dictionary, s string) uint32 {
	b.Bytes += len(s)
	return column.append(s)
}

// intern is the key of string i of a table of the batch, whose keys so far are in keys.
func (b *Block) intern(keys []uint32, i uint32, column *dictionary, s string) uint32 {
	if keys[i] == 0 {
		keys[i] = b.key(column, s)
	}
	return keys[i]
}

// internConversation returns the keys of conversation i of the batch.
func (b *Block) internConversation(batch *events.Batch, i uint32) *internedConversation {
	k := &b.interned.conversations[i]
	if k.app == 0 {
		c, to := &batch.Conversations[i], &b.columns
		*k = internedConversation{
			app: b.key(&to.App.dictionary, c.App), group: b.key(&to.Group.dictionary, c.Group),
			a: b.key(&to.Peer.dictionary, c.A), b: b.key(&to.Peer.dictionary, c.B), userA: c.A,
		}
	}
	return k
}

// internSender is the key of the sender of message m of the batch. It is the same for all facts
// about m, except when both users of a single chat have sent a message with that id.
func (b *Block) internSender(f *projections.Fact, m uint32) uint32 {
	sender := &b.columns.Sender.dictionary
	if m == events.None {
		return b.key(sender, f.Sender)
	}
	if k := b.interned.senders[m]; k != 0 && sender.values[k] == f.Sender {
		return k
	}
	b.interned.senders[m] = b.key(sender, f.Sender)
	return b.interned.senders[m]
}
