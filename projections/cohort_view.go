package projections

// CohortKind says which messages of an app a [Cohort] counts.
type CohortKind uint8

// The kinds of cohorts: cohorts proper, and their totals.
const (
	OneCohort CohortKind = iota // of one sender in one conversation in one hour
	HourTotal                   // of one hour
	GroupDay                    // of one group on one UTC day
	SenderDay                   // of one sender on one UTC day, in groups and single chats
)

// Cohort is what the rollup of a partition holds of a cohort or a total. All values are absolute.
type Cohort struct {
	Kind CohortKind
	App  string
	// Hour as Unix milliseconds divided by HourMillis; of a day the first.
	Hour int64
	// Group is the group; empty for a single chat, where Peer is the receiver. Of these and of the
	// sender, a total has only what it is the total of.
	Group, Peer string
	Sender      string
	// Label is what all its messages have, empty for none; of a cohort proper only.
	Label string
	CohortCounts
	// Bins are the times from sending to reading, by bin, ascending, without empty bins. Their
	// counts add up to Read, but for the readers of messages of which receipts are counted only.
	Bins []BinCount
}

// CohortCounts are the numbers of a cohort, or of several added up.
type CohortCounts struct {
	Messages, Eligible, Delivered, Read uint64
	// Recalled messages are in none of the other numbers.
	Recalled uint64
}

// Add adds the numbers of another cohort.
func (c *CohortCounts) Add(o CohortCounts) {
	c.Messages += o.Messages
	c.Eligible += o.Eligible
	c.Delivered += o.Delivered
	c.Read += o.Read
	c.Recalled += o.Recalled
}

// Rate is the part of the eligible readers who have read, from 0 to 1; 0 if there are none.
func (c CohortCounts) Rate() float64 {
	if c.Eligible == 0 {
		return 0
	}
	return float64(c.Read) / float64(c.Eligible)
}

// BinCount is the number of reads in one bin of the distribution; see TimeBin.
type BinCount struct {
	Bin   uint16
	Count uint64
}
