package clickhouse

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"

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
	// ready is the block as the driver sends it, once it is encoded.
	ready []column.Interface
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

// Next is an empty block of the same partition, with room for as much as this one has. It takes the memory of a block that is not
// needed any more, if that is not far too much; nil is none.
func (b *Block) Next(spent *Block) *Block {
	n := b.Rows() + b.Rows()/16
	if spent != nil && cap(spent.sequence) >= b.Rows() && cap(spent.sequence) <= 4*n {
		spent.reset()
		spent.Partition, spent.kept = b.Partition, b.kept
		return spent
	}
	return &Block{
		Partition: b.Partition, partition: make([]uint16, 0, n), sequence: make([]uint64, 0, n), fingerprint: make([]uint64, 0, n),
		index: make([]uint32, 0, n), fact: make([]uint32, 0, n), at: make([]int64, 0, n), sentAt: make([]int64, 0, n),
		kind: make([]int8, 0, n), outcome: make([]int8, 0, n), app: b.app.sized(n), group: b.group.sized(n), user: b.user.sized(n),
		peer: b.peer.sized(n), message: b.message.sized(n), sender: b.sender.sized(n), content: b.content.sized(n),
		extra: b.extra.sized(n), receipt: make([]bool, 0, n), strict: make([]bool, 0, n), clientMS: make([]int64, 0, n),
		eligible: make([]uint32, 0, n), readers: make([]uint32, 0, n), kept: b.kept,
	}
}

func (b *Block) reset() {
	b.First, b.Last, b.Bytes, b.month, b.lastHash, b.ready = 0, 0, 0, 0, 0, nil
	b.partition, b.sequence, b.fingerprint = b.partition[:0], b.sequence[:0], b.fingerprint[:0]
	b.index, b.fact, b.at, b.sentAt = b.index[:0], b.fact[:0], b.at[:0], b.sentAt[:0]
	b.kind, b.outcome, b.receipt, b.strict = b.kind[:0], b.outcome[:0], b.receipt[:0], b.strict[:0]
	b.clientMS, b.eligible, b.readers = b.clientMS[:0], b.eligible[:0], b.readers[:0]
	for _, w := range b.words() {
		w.reset()
	}
}

func (b *Block) words() [8]*words {
	return [...]*words{&b.app, &b.group, &b.user, &b.peer, &b.message, &b.content, &b.extra, &b.sender}
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
func (b *Block) Add(x *projections.Decoded, outcomes []events.Outcome, facts []projections.Fact) error {
	batch := x.Batch
	b.begin(x)
	b.kept.reset(batch)
	if batch.Len() == 0 {
		b.outcome[b.rows(x, 1)] = outcomeEmpty
		return nil
	}
	n := b.rows(x, batch.Len()+further(batch, facts))
	for i := range batch.Len() {
		if err := b.event(n, batch, i, outcomes[i]); err != nil {
			return err
		}
		if len(facts) > 0 && facts[0].Index == i && own(batch, &facts[0]) {
			b.did(n, &facts[0], b.senderOf(&facts[0], batch.Msg[i]))
			facts = facts[1:]
		}
		n++
		for fact := uint32(1); len(facts) > 0 && facts[0].Index == i; fact++ {
			b.further(n, fact, batch, &facts[0])
			facts = facts[1:]
			n++
		}
	}
	return nil
}

// own reports whether an event's first fact is what the event itself says.
func own(batch *events.Batch, f *projections.Fact) bool { return f.Kind == batch.Kinds[f.Index] }

// further counts the facts that take a row of their own.
func further(batch *events.Batch, facts []projections.Fact) (n int) {
	last := -1
	for i := range facts {
		if facts[i].Index == last || !own(batch, &facts[i]) {
			n++
		}
		last = facts[i].Index
	}
	return n
}

// AddPoison adds an entry that could not be decoded, with its bytes and why.
func (b *Block) AddPoison(x *projections.Decoded, subject string, data []byte) error {
	return b.addBytes(x, outcomePoison, subject, data, x.Poison)
}

// AddRefused adds an entry as its bytes, because ClickHouse did not take the rows.
func (b *Block) AddRefused(x *projections.Decoded, subject string, data []byte, reason string) error {
	return b.addBytes(x, outcomeBytes, subject, data, reason)
}

func (b *Block) addBytes(x *projections.Decoded, outcome int8, subject string, data []byte, reason string) error {
	extra, err := json.Marshal(bytesExtra{Subject: subject, Data: data})
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	b.begin(x)
	n := b.rows(x, 1)
	b.outcome[n] = outcome
	b.content.keys[n] = b.add(&b.content, reason)
	b.extra.keys[n] = b.add(&b.extra, string(extra))
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

func (b *Block) begin(x *projections.Decoded) {
	if b.First == 0 {
		b.First, b.month = x.Sequence, monthOf(x.At)
	}
	b.Last, b.lastHash = x.Sequence, x.Fingerprint
}

// rows adds rows with everything empty but where, and returns the first one.
func (b *Block) rows(x *projections.Decoded, n int) int {
	from := b.Rows()
	b.ready = nil
	b.partition = repeated(b.partition, n, uint16(b.Partition))
	b.sequence = repeated(b.sequence, n, x.Sequence)
	b.fingerprint = repeated(b.fingerprint, n, x.Fingerprint)
	b.at = repeated(b.at, n, storable(x.At))
	b.index, b.fact = longer(b.index, n), longer(b.fact, n)
	b.kind, b.outcome = longer(b.kind, n), longer(b.outcome, n)
	b.receipt, b.strict = longer(b.receipt, n), longer(b.strict, n)
	b.clientMS, b.sentAt = longer(b.clientMS, n), longer(b.sentAt, n)
	b.eligible, b.readers = longer(b.eligible, n), longer(b.readers, n)
	for _, w := range b.words() {
		w.keys = longer(w.keys, n)
	}
	return from
}

// longer adds zeros to a column.
func longer[S ~[]T, T any](s S, n int) S {
	from := len(s)
	s = slices.Grow(s, n)[:from+n]
	clear(s[from:])
	return s
}

func repeated[S ~[]T, T any](s S, n int, v T) S {
	from := len(s)
	s = slices.Grow(s, n)[:from+n]
	added := s[from:]
	for i := range added {
		added[i] = v
	}
	return s
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

// event fills the row of an event with what it says.
func (b *Block) event(n int, batch *events.Batch, i int, outcome events.Outcome) error {
	b.index[n], b.kind[n], b.outcome[n] = uint32(i), int8(batch.Kinds[i]), int8(outcome)
	c := b.conversation(batch, batch.Conv[i])
	b.app.keys[n], b.group.keys[n] = c.app, c.group
	if u := batch.User[i]; u != events.None {
		b.user.keys[n] = b.once(b.kept.users, u, &b.user, batch.Users[u])
		b.peer.keys[n] = c.peer(batch.Users[u])
	}
	if m := batch.Msg[i]; m != events.None {
		b.message.keys[n] = b.once(b.kept.messages, m, &b.message, batch.Messages[m].ID)
	}
	if len(batch.Content) > 0 && batch.Content[i] != events.None {
		c := batch.Content[i]
		if b.kept.contents[c] == 0 {
			b.kept.contents[c] = b.add(&b.content, batch.Contents[c])
		}
		b.content.keys[n] = b.kept.contents[c]
	}
	if len(batch.Times) > 0 {
		b.clientMS[n] = batch.Times[i]
	}
	b.receipt[n] = batch.Flags[i]&events.FlagReceipt != 0
	b.strict[n] = batch.Flags[i]&events.FlagStrict != 0
	if extra := batch.AttributesOf(i); extra != nil {
		text, err := json.Marshal(eventExtra{
			Role: extra.Role, Members: extra.Members, Admins: extra.Admins,
			Settings: extra.Settings, Revision: extra.Revision, Upto: extra.Upto,
		})
		if err != nil {
			return fmt.Errorf("encode %v: %w", batch.Kinds[i], err)
		}
		b.extra.keys[n] = b.add(&b.extra, string(text))
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

// further fills a row for what an event did beside what it says.
func (b *Block) further(n int, fact uint32, batch *events.Batch, f *projections.Fact) {
	b.index[n], b.fact[n], b.kind[n], b.outcome[n] = uint32(f.Index), fact, int8(f.Kind), int8(events.OutcomeApplied)
	c := b.conversation(batch, batch.Conv[f.Index])
	b.app.keys[n], b.group.keys[n] = c.app, c.group
	b.user.keys[n], b.peer.keys[n] = b.key(&b.user, f.User), c.peer(f.User)
	b.message.keys[n] = b.key(&b.message, f.Message)
	if f.Content != "" {
		b.content.keys[n] = b.add(&b.content, f.Content)
	}
	b.did(n, f, b.key(&b.sender, f.Sender))
}

// did says in a row what was done to the message.
func (b *Block) did(n int, f *projections.Fact, sender uint32) {
	b.sender.keys[n] = sender
	b.sentAt[n] = storable(f.SentAt)
	b.eligible[n] = f.Eligible
	b.readers[n] = f.Read
}

// storable bounds a time to what a DateTime64 holds: a broken clock must not stop the sink.
func storable(ms int64) int64 {
	const first, last = -1_420_070_400_000, 9_904_550_400_000 // 1925, 2283
	return min(max(ms, first), last)
}
