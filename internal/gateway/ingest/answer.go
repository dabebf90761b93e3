package ingest

import (
	"strconv"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// Sizes of answers, in bytes: one to a single event or about positions, and what the outcome of
// each event adds.
const (
	SmallAnswer  = 96
	OutcomeBytes = 40
)

// AppendAccepted begins an answer: that so many events are durable. What follows is
// [AppendPositions], or outcomes between [BeginOutcomes] and [EndOutcomes], or both.
func AppendAccepted(dst []byte, n int) []byte {
	return strconv.AppendInt(append(dst, `{"accepted":`...), int64(n), 10)
}

// AppendPositions ends an answer with the positions of its events, and with a hint: see [Hints.Of].
// Outcomes may stand before them, closed by a bracket.
func AppendPositions(dst []byte, positions []eventlog.Position, hint []byte) []byte {
	dst = append(dst, `,"positions":[`...)
	for i, p := range positions {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(append(dst, `{"partition":`...), int64(p.Partition), 10)
		dst = strconv.AppendUint(append(dst, `,"sequence":`...), p.Sequence, 10)
		dst = append(dst, '}')
	}
	return append(append(append(dst, ']'), hint...), "}\n"...)
}

// What is around the outcomes of an answer.
const (
	BeginOutcomes = `,"outcomes":[`
	EndOutcomes   = "]}\n"
)

// AppendOutcome appends what was decided about the event with an index, after a comma if it is not
// the first. It relies on reasons being plain ASCII.
func AppendOutcome(dst []byte, first bool, index int, o events.Outcome) []byte {
	if !first {
		dst = append(dst, ',')
	}
	dst = strconv.AppendInt(append(dst, `{"index":`...), int64(index), 10)
	dst = append(append(dst, `,"outcome":"`...), o.String()...)
	dst = append(dst, '"')
	if o.Rejected() {
		dst = strconv.AppendInt(append(dst, `,"code":`...), int64(o.Code()), 10)
		dst = append(append(append(dst, `,"reason":"`...), o.Reason()...), '"')
	}
	return append(dst, '}')
}
