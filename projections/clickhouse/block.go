package clickhouse

import (
	"encoding/json"
	"fmt"
	"time"
	"unsafe"

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
	// Bytes is the size of its strings, roughly.
	Bytes int

	month    int // of the entries: year*12 + month
	lastHash uint64

	partition             []uint16
	sequence, fingerprint []uint64
	index, fact           []uint32
	at, sentAt            []int64 // Unix ms
	kind, outcome         []int8
	app, group, user      []string
	peer, message         []string
	content, extra        []string
	sender                []string
	receipt, strict       []bool
	clientMS              []int64
	eligible, readers     []uint32

	arena []byte
	kept  kept
}

// kept are the strings of the entry being added, once they are copied.
type kept struct {
	users, messages, contents []string
	conversations             []events.Conversation
}

// Outcomes that only this table knows.
const (
	outcomePoison = 100 // an entry that could not be decoded
	outcomeEmpty  = 101 // an entry without events
	// outcomeBytes is an entry that ClickHouse did not take as rows.
	outcomeBytes = 102
)

// values are the columns, in the order of eventsTable.
func (b *Block) values() []any {
	return []any{
		b.partition, b.sequence, b.index, b.fact, b.at, b.fingerprint, b.kind, b.outcome, b.app, b.group, b.user,
		b.peer, b.message, b.content, b.receipt, b.strict, b.clientMS, b.extra, b.sender, b.sentAt,
		b.eligible, b.readers,
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
				b.did(f) // the event's own
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
	b.set(&b.content, b.keep(reason))
	b.set(&b.extra, string(extra))
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
		kind: b.kind[from:to], outcome: b.outcome[from:to], app: b.app[from:to], group: b.group[from:to],
		user: b.user[from:to], peer: b.peer[from:to], message: b.message[from:to], content: b.content[from:to],
		extra: b.extra[from:to], sender: b.sender[from:to], receipt: b.receipt[from:to], strict: b.strict[from:to],
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
	for _, column := range []*[]string{&b.app, &b.group, &b.user, &b.peer, &b.message, &b.content, &b.extra, &b.sender} {
		*column = append(*column, "")
	}
	b.receipt = append(b.receipt, false)
	b.strict = append(b.strict, false)
	for _, column := range []*[]int64{&b.clientMS, &b.sentAt} {
		*column = append(*column, 0)
	}
	b.eligible = append(b.eligible, 0)
	b.readers = append(b.readers, 0)
}

// set sets a value of the last row.
func (b *Block) set(column *[]string, s string) {
	(*column)[len(*column)-1] = s
	b.Bytes += len(s)
}

func (b *Block) event(x projections.Entry, batch *events.Batch, i int, outcome events.Outcome) error {
	b.row(x, uint32(i), 0, batch.Kinds[i], int8(outcome))
	n := b.Rows() - 1
	c := b.conversation(batch, batch.Conv[i])
	b.set(&b.app, c.App)
	b.set(&b.group, c.Group)
	if u := batch.User[i]; u != events.None {
		b.set(&b.user, b.once(b.kept.users, batch.Users, u))
		switch {
		case c.A == "":
		case b.user[n] == c.A:
			b.set(&b.peer, c.B)
		default:
			b.set(&b.peer, c.A)
		}
	}
	if m := batch.Msg[i]; m != events.None {
		if b.kept.messages[m] == "" {
			b.kept.messages[m] = b.keep(batch.Messages[m].ID)
		}
		b.set(&b.message, b.kept.messages[m])
	}
	if len(batch.Content) > 0 && batch.Content[i] != events.None {
		b.set(&b.content, b.once(b.kept.contents, batch.Contents, batch.Content[i]))
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
		b.set(&b.extra, string(text))
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
	b.set(&b.app, f.App)
	b.set(&b.group, f.Message.Group)
	b.set(&b.user, f.User)
	if f.Message.Group == "" {
		b.set(&b.peer, f.Message.From)
	}
	b.set(&b.message, f.Message.ID)
	b.set(&b.content, f.Content)
	b.did(f)
}

// did says in the last row what was done to the message.
func (b *Block) did(f *projections.Fact) {
	n := b.Rows() - 1
	b.set(&b.sender, f.Message.From)
	b.sentAt[n] = storable(f.Message.SentAt)
	b.eligible[n] = uint32(f.Message.Eligible)
	b.readers[n] = uint32(f.Message.Read)
}

// storable bounds a time to what a DateTime64 holds: a broken clock must not stop the sink.
func storable(ms int64) int64 {
	const first, last = -1_420_070_400_000, 9_904_550_400_000 // 1925, 2283
	return min(max(ms, first), last)
}

func (k *kept) reset(batch *events.Batch) {
	k.users = resized(k.users, len(batch.Users))
	k.messages = resized(k.messages, len(batch.Messages))
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

// once copies a string of a table of the batch the first time it is needed.
func (b *Block) once(kept, table []string, i uint32) string {
	if kept[i] == "" {
		kept[i] = b.keep(table[i])
	}
	return kept[i]
}

func (b *Block) conversation(batch *events.Batch, i uint32) *events.Conversation {
	k := &b.kept.conversations[i]
	if k.App == "" {
		c := &batch.Conversations[i]
		*k = events.Conversation{App: b.keep(c.App), Group: b.keep(c.Group), A: b.keep(c.A), B: b.keep(c.B)}
	}
	return k
}

// keep copies a string into memory of the block.
func (b *Block) keep(s string) string {
	if len(s) > cap(b.arena)-len(b.arena) {
		b.arena = make([]byte, 0, max(64<<10, len(s)))
	}
	from := len(b.arena)
	b.arena = append(b.arena, s...)
	kept := b.arena[from:len(b.arena):len(b.arena)]
	return unsafe.String(unsafe.SliceData(kept), len(kept))
}
