package gateway

import "github.com/receiptd/receiptd/projections"

// Who answered a question about read rates.
const (
	SourceClickHouse = "clickhouse"
	SourceEmbedded   = "embedded"
)

// Rates is an answer about read rates, and how old it is.
type Rates struct {
	Rows []projections.RateRow
	// Total is how many rows there are on all pages.
	Total int
	// Source is who answered: SourceClickHouse or SourceEmbedded.
	Source string
	// Substitute says that the state has answered in the place of ClickHouse, which does not.
	Substitute bool
	// AsOf is a time in Unix milliseconds: what the log stored before it is counted. 0 if nothing
	// of some partition is.
	AsOf int64
	// BehindEntries of the log are not counted yet; BehindMS is how long ago AsOf is, 0 if all
	// are, or if it is not known.
	BehindEntries uint64
	BehindMS      int64
}
