package clickhouse

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/projections"
)

// Block is what goes into the table events in one insert: a contiguous range of the entries of one partition, all
// of one month, so that ClickHouse makes one part of it, which is there as a whole or not at all. The zero Block with
// its Partition set is empty. It can be inserted again and again.
type Block struct {
	Partition int
	// First and Last are the entries in it; 0 if it is empty.
	First, Last uint64
	// Bytes is the size of its strings, roughly; those that come again and again count once.
	Bytes int

	month    int // of the entries: year*12 + month
	lastHash uint64

	partition             proto.ColUInt16
	sequence, fingerprint proto.ColUInt64
	index, fact           proto.ColUInt32
	at, sentAt            proto.ColInt64 // Unix ms
	kind, outcome         []int8
	app, group, user      words
	peer, message, sender words
	content, extra        words
	receipt, strict       proto.ColBool
	clientMS              proto.ColInt64
	eligible, readers     proto.ColUInt32

	kept kept
}

// Outcomes that only this table knows.
const (
	outcomePoison = 100 // an entry that could not be decoded
	outcomeEmpty  = 101 // an entry without events
	// outcomeBytes is an entry that ClickHouse did not take as rows.
	outcomeBytes = 102
)

// values are the columns, in the order of eventsTable. The driver checks those of an enumeration.
func (b *Block) values() []any {
	return []any{
		&b.partition, &b.sequence, &b.index, &b.fact, &b.at, &b.fingerprint, b.kind, b.outcome, &b.app, &b.group, &b.user,
		&b.peer, &b.message, plain{&b.content}, &b.receipt, &b.strict, &b.clientMS, plain{&b.extra}, &b.sender, &b.sentAt,
		&b.eligible, &b.readers,
	}
}

// Next is an empty block of the same partition, with room for as much as this one has.
func (b *Block) Next() *Block {
	n := b.Rows() + b.Rows()/16
	return &Block{
		Partition: b.Partition, partition: make([]uint16, 0, n), sequence: make([]uint64, 0, n), fingerprint: make([]uint64, 0, n),
		index: make([]uint32, 0, n), fact: make([]uint32, 0, n), at: make([]int64, 0, n), sentAt: make([]int64, 0, n),
		kind: make([]int8, 0, n), outcome: make([]int8, 0, n), app: b.app.sized(n), group: b.group.sized(n), user: b.user.sized(n),
		peer: b.peer.sized(n), message: b.message.sized(n), sender: b.sender.sized(n), content: b.content.sized(n),
		extra: b.extra.sized(n), receipt: make([]bool, 0, n), strict: make([]bool, 0, n), clientMS: make([]int64, 0, n),
		eligible: make([]uint32, 0, n), readers: make([]uint32, 0, n), kept: b.kept,
	}
}

// Rows is the number of rows.
func (b *Block) Rows() int { return len(b.sequence) }

// Fits reports whether an entry of that time may follow: it is of the same month. Anything fits an empty block.
func (b *Block) Fits(at int64) bool { return b.First == 0 || b.month == monthOf(at) }

func monthOf(ms int64) int {
	t := time.UnixMilli(ms).UTC()
	return t.Year()*12 + int(t.Month())
}

// Add adds an entry that was folded: its events, what was decided about each, and what they did. It copies what it
// keeps of the batch; the strings of facts stay valid anyway.
func (b *Block) Add(x projections.Entry, batch *events.Batch, outcomes []events.Outcome, facts []projections.Fact) error {
	b.begin(x)
	b.kept.reset(batch)
	if batch.Len() == 0 {
		b.row(x, 0, 0, events.KindUnknown, outcomeEmpty)
	}
	for i := range batch.Len() {
		if err := b.event(x, batch, i, outcomes[i]); err != nil {
			return err
		}
		for n := 0; len(facts) > 0 && facts[0].Index == i; n++ {
			f := &facts[0]
			if facts = facts[1:]; n == 0 && f.Kind == batch.Kinds[i] {
				b.did(f, b.senderOf(f, batch.Msg[i])) // the event's own
				continue
			}
			b.further(x, i, f)
		}
	}
	return nil
}

// AddPoison adds an entry that could not be decoded, with its bytes and why.
func (b *Block) AddPoison(x projections.Entry, subject string, data []byte, reason string) error {
	return b.addBytes(x, outcomePoison, subject, data, reason)
}

// AddRefused adds an entry as its bytes, because ClickHouse did not take the rows.
func (b *Block) AddRefused(x projections.Entry, subject string, data []byte, reason string) error {
	return b.addBytes(x, outcomeBytes, subject, data, reason)
}

func (b *Block) addBytes(x projections.Entry, outcome int8, subject string, data []byte, reason string) error {
	extra, err := json.Marshal(bytesExtra{Subject: subject, Data: data})
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	b.begin(x)
	b.row(x, 0, 0, events.KindUnknown, outcome)
	b.content.set(b.add(&b.content, reason))
	b.extra.set(b.add(&b.extra, string(extra)))
	return nil
}

// bytesExtra is an entry that is not kept as rows, as it stands in the column extra.
type bytesExtra struct {
	Subject string `json:"subject"`
	Data    []byte `json:"data"`
}

// Split cuts a block between two entries, near its middle. ok is false if there is only one.
func (b *Block) Split() (head, tail *Block, ok bool) {
	at := b.Rows() / 2
	for at > 0 && b.sequence[at-1] == b.sequence[at] {
		at--
	}
	if at == 0 { // the first entry has the middle
		for at < b.Rows() && b.sequence[at] == b.First {
			at++
		}
	}
	if at == b.Rows() {
		return nil, nil, false
	}
	return b.slice(0, at), b.slice(at, b.Rows()), true
}

// slice is some rows of a block, whole entries.
func (b *Block) slice(from, to int) *Block {
	return &Block{
		Partition: b.Partition, First: b.sequence[from], Last: b.sequence[to-1], lastHash: b.fingerprint[to-1],
		month: b.month, partition: b.partition[from:to], sequence: b.sequence[from:to], fingerprint: b.fingerprint[from:to],
		index: b.index[from:to], fact: b.fact[from:to], at: b.at[from:to], sentAt: b.sentAt[from:to],
		kind: b.kind[from:to], outcome: b.outcome[from:to], app: b.app.slice(from, to), group: b.group.slice(from, to),
		user: b.user.slice(from, to), peer: b.peer.slice(from, to), message: b.message.slice(from, to), content: b.content.slice(from, to),
		extra: b.extra.slice(from, to), sender: b.sender.slice(from, to), receipt: b.receipt[from:to], strict: b.strict[from:to],
		clientMS: b.clientMS[from:to], eligible: b.eligible[from:to], readers: b.readers[from:to],
	}
}

func (b *Block) begin(x projections.Entry) {
	if b.First == 0 {
		b.First, b.month = x.Sequence, monthOf(x.At)
	}
	b.Last, b.lastHash = x.Sequence, x.Fingerprint
}

// row adds a row with everything empty but where and what.
func (b *Block) row(x projections.Entry, index, fact uint32, kind events.Kind, outcome int8) {
	b.partition = append(b.partition, uint16(b.Partition))
	b.sequence = append(b.sequence, x.Sequence)
	b.fingerprint = append(b.fingerprint, x.Fingerprint)
	b.index = append(b.index, index)
	b.fact = append(b.fact, fact)
	b.at = append(b.at, storable(x.At))
	b.kind = append(b.kind, int8(kind))
	b.outcome = append(b.outcome, outcome)
	b.app.row()
	b.group.row()
	b.user.row()
	b.peer.row()
	b.message.row()
	b.content.row()
	b.extra.row()
	b.sender.row()
	b.receipt = append(b.receipt, false)
	b.strict = append(b.strict, false)
	b.clientMS = append(b.clientMS, 0)
	b.sentAt = append(b.sentAt, 0)
	b.eligible = append(b.eligible, 0)
	b.readers = append(b.readers, 0)
}

// key is that of a string that may have come before.
func (b *Block) key(column *words, s string) uint32 {
	key, fresh := column.key(s)
	b.Bytes += fresh
	return key
}

// add is the key of a string that comes once.
func (b *Block) add(column *words, s string) uint32 {
	b.Bytes += len(s)
	return column.append(s)
}

func (b *Block) event(x projections.Entry, batch *events.Batch, i int, outcome events.Outcome) error {
	b.row(x, uint32(i), 0, batch.Kinds[i], int8(outcome))
	n := b.Rows() - 1
	c, k := &batch.Conversations[batch.Conv[i]], b.conversation(batch, batch.Conv[i])
	b.app.set(k.app)
	b.group.set(k.group)
	if u := batch.User[i]; u != events.None {
		b.user.set(b.once(b.kept.users, u, &b.user, batch.Users[u]))
		switch {
		case c.A == "":
		case batch.Users[u] == c.A:
			b.peer.set(k.b)
		default:
			b.peer.set(k.a)
		}
	}
	if m := batch.Msg[i]; m != events.None {
		b.message.set(b.once(b.kept.messages, m, &b.message, batch.Messages[m].ID))
	}
	if len(batch.Content) > 0 && batch.Content[i] != events.None {
		if c := batch.Content[i]; b.kept.contents[c] == 0 {
			b.kept.contents[c] = b.add(&b.content, batch.Contents[c])
		}
		b.content.set(b.kept.contents[batch.Content[i]])
	}
	if len(batch.Times) > 0 {
		b.clientMS[n] = batch.Times[i]
	}
	b.receipt[n] = batch.Flags[i]&events.FlagReceipt != 0
	b.strict[n] = batch.Flags[i]&events.FlagStrict != 0
	if extra := batch.Extra(i); extra != nil {
		text, err := json.Marshal(eventExtra{
			Role: extra.Role, Members: extra.Members, Admins: extra.Admins,
			Settings: extra.Settings, Revision: extra.Revision, Upto: extra.Upto,
		})
		if err != nil {
			return fmt.Errorf("encode %v: %w", batch.Kinds[i], err)
		}
		b.extra.set(b.add(&b.extra, string(text)))
	}
	return nil
}

// eventExtra is what only rare kinds have, as it stands in the column extra.
type eventExtra struct {
	Role     events.Role      `json:"role,omitzero"`
	Members  []string         `json:"members,omitempty"`
	Admins   []string         `json:"admins,omitempty"`
	Settings *events.Settings `json:"settings,omitempty"`
	Revision uint64           `json:"revision,omitzero"`
	Upto     uint64           `json:"upto,omitzero"`
}

// further adds a row for what an event did beside what it says.
func (b *Block) further(x projections.Entry, i int, f *projections.Fact) {
	var fact uint32 = 1
	if n := b.Rows() - 1; b.index[n] == uint32(i) {
		fact = b.fact[n] + 1
	}
	b.row(x, uint32(i), fact, f.Kind, int8(events.OutcomeApplied))
	b.app.set(b.key(&b.app, f.App))
	b.group.set(b.key(&b.group, f.Message.Group))
	b.user.set(b.key(&b.user, f.User))
	if f.Message.Group == "" {
		b.peer.set(b.key(&b.peer, f.Message.From))
	}
	b.message.set(b.key(&b.message, f.Message.ID))
	if f.Content != "" {
		b.content.set(b.add(&b.content, f.Content))
	}
	b.did(f, b.key(&b.sender, f.Message.From))
}

// did says in the last row what was done to the message.
func (b *Block) did(f *projections.Fact, sender uint32) {
	n := b.Rows() - 1
	b.sender.set(sender)
	b.sentAt[n] = storable(f.Message.SentAt)
	b.eligible[n] = uint32(f.Message.Eligible)
	b.readers[n] = uint32(f.Message.Read)
}

// storable bounds a time to what a DateTime64 holds: a broken clock must not stop the sink.
func storable(ms int64) int64 {
	const first, last = -1_420_070_400_000, 9_904_550_400_000 // 1925, 2283
	return min(max(ms, first), last)
}
