package clickhouse

import "github.com/receiptd/receiptd/events"

var eventsTable = tableOf[eventColumns]("events")

// archived is the group of columns that [Store.Replay] reads.
const archived = "archive"

// eventColumns are the columns of the table events.
type eventColumns struct {
	Partition   numbers[uint16] `ch:"partition"`
	Sequence    numbers[uint64] `ch:"sequence,archive"`
	Index       numbers[uint32] `ch:"index,archive"`
	Fact        numbers[uint32] `ch:"fact"`
	At          millis          `ch:"at,archive"`
	Fingerprint numbers[uint64] `ch:"fingerprint,archive"`
	Kind        enums           `ch:"kind,archive"`
	Outcome     enums           `ch:"outcome,archive"`
	App         lowCardinality  `ch:"app,archive"`
	Group       lowCardinality  `ch:"group,archive"`
	User        lowCardinality  `ch:"user,archive"`
	Peer        lowCardinality  `ch:"peer,archive"`
	Message     lowCardinality  `ch:"message,archive"`
	Content     repeatedTexts   `ch:"content,archive"`
	Receipt     bools           `ch:"receipt,archive"`
	Strict      bools           `ch:"strict,archive"`
	ClientMS    numbers[int64]  `ch:"client_ms,archive"`
	Extra       repeatedTexts   `ch:"extra,archive"`
	Sender      lowCardinality  `ch:"sender"`
	SentAt      millis          `ch:"sent_at"`
	Eligible    numbers[uint32] `ch:"eligible"`
	Readers     numbers[uint32] `ch:"readers"`
	// Leaf is in the first row of an entry.
	Leaf  repeatedTexts  `ch:"leaf,archive"`
	Label lowCardinality `ch:"label,archive"`
	// Imported is said of an event and of what followed from it.
	Imported bools `ch:"imported,archive"`
}

// Outcomes that only this table knows.
const (
	outcomePoison = 100 // an entry that could not be decoded
	outcomeEmpty  = 101 // an entry without events
	// outcomeBytes is an entry that ClickHouse did not take as rows.
	outcomeBytes = 102
)

// eventExtra is what only few events have, as it stands in the column extra.
type eventExtra struct {
	Role     events.Role      `json:"role,omitzero"`
	Members  []string         `json:"members,omitempty"`
	Admins   []string         `json:"admins,omitempty"`
	Settings *events.Settings `json:"settings,omitempty"`
	Revision uint64           `json:"revision,omitzero"`
	// RulesLevel is what a rules.level event raises, for which the column kind has no name.
	RulesLevel uint64 `json:"rules_level,omitzero"`
	// Repartitioned is the number of partitions of a log.repartitioned event, of which the same
	// holds.
	Repartitioned uint64 `json:"repartitioned,omitzero"`
	Upto          uint64 `json:"upto,omitzero"`
	Device        string `json:"device,omitempty"`
	EventID       string `json:"event_id,omitempty"`
	Silent        bool   `json:"silent,omitempty"`
	// Label is one that is not counted: of a message that was rejected, or one too many.
	Label string `json:"label,omitempty"`

	SendReads      events.Choice `json:"send_reads,omitzero"`
	SendDeliveries events.Choice `json:"send_deliveries,omitzero"`
}

// bytesExtra is an entry that is kept as bytes and not as rows, as it stands in the column extra.
type bytesExtra struct {
	Subject string `json:"subject"`
	MsgID   string `json:"msg_id,omitempty"`
	Data    []byte `json:"data"`
}
