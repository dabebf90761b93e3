package clickhouse

import (
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// kept are the keys of what is in the tables of the entry being added, once they are looked up; 0 before.
type kept struct {
	users, messages, contents []uint32
	senders                   []uint32 // of the messages
	conversations             []keptConversation
}

// keptConversation are the keys of a conversation; a and b are those of its users in the column peer, 0 for a group.
type keptConversation struct {
	app, group, a, b uint32
	userA            string
}

// peer is the key of the other user of a single chat.
func (k *keptConversation) peer(user string) uint32 {
	if k.a == 0 || user == k.userA {
		return k.b
	}
	return k.a
}

func (k *kept) reset(batch *events.Batch) {
	k.users = resized(k.users, len(batch.Users))
	k.messages = resized(k.messages, len(batch.Messages))
	k.senders = resized(k.senders, len(batch.Messages))
	k.contents = resized(k.contents, len(batch.Contents))
	k.conversations = resized(k.conversations, len(batch.Conversations))
}

func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// once looks a string of a table of the batch up the first time it is needed.
func (b *Block) once(kept []uint32, i uint32, column *words, s string) uint32 {
	if kept[i] == 0 {
		kept[i] = b.key(column, s)
	}
	return kept[i]
}

func (b *Block) conversation(batch *events.Batch, i uint32) *keptConversation {
	k := &b.kept.conversations[i]
	if k.app == 0 {
		c := &batch.Conversations[i]
		*k = keptConversation{
			app: b.key(&b.app, c.App), group: b.key(&b.group, c.Group), a: b.key(&b.peer, c.A), b: b.key(&b.peer, c.B), userA: c.A,
		}
	}
	return k
}

// senderOf is the key of the sender of a message, by its index in the entry's table. Two users of a single chat may send
// the same one.
func (b *Block) senderOf(f *projections.Fact, m uint32) uint32 {
	if m == events.None {
		return b.key(&b.sender, f.Sender)
	}
	if k := b.kept.senders[m]; k != 0 && b.sender.values[k] == f.Sender {
		return k
	}
	b.kept.senders[m] = b.key(&b.sender, f.Sender)
	return b.kept.senders[m]
}
