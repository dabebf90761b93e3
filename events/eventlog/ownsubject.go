package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/internal/leader"
)

// Where several processes append to a log, each publishes on a subject of its own, with the last
// sequence of that subject as the condition. What the others append has no part in it: an entry in
// doubt is sent again as it is, and if the condition no longer holds it is the entry itself that is
// the last on the subject. Without that, a publisher would have to search all that the others
// append in the meantime, and might never come to the end.

// tryOwn makes one try on the publisher's own subject.
func (d *publication) tryOwn() answer {
	a := d.attempt(expectation{jetstream.ExpectedLastSubjSeqHeader, d.p.own})
	if a.verdict != overtaken {
		return a
	}
	ctx, cancel := context.WithTimeout(d.p.log.stopping, requestTimeout)
	defer cancel()
	last, err := leader.Last(ctx, d.p.log.read.nc, streamName(d.p.partition), d.p.subject)
	return d.judgeOwn(last, err, a.err)
}

// judgeOwn says what became of an entry that the server did not store because it is not the next
// one on the subject, by what is the last one there.
func (d *publication) judgeOwn(last leader.Message, err, refusal error) answer {
	p := d.p
	switch {
	case errors.Is(err, leader.ErrNotFound) && p.own == 0:
		return answer{verdict: retryable, err: refusal} // from a server that was just deposed
	case errors.Is(err, leader.ErrNotFound) && d.inDoubt:
		err := fmt.Errorf("%w: all of the publisher's entries, this one perhaps among them", ErrTrimmed)
		return answer{verdict: undecidable, err: err}
	case errors.Is(err, leader.ErrNotFound): // retention took all of them
		p.own = 0
		return answer{verdict: overtaken, err: refusal}
	case err != nil:
		return answer{verdict: retryable, err: fmt.Errorf("look for the entry: %w", err)}
	case last.Header.Get(jetstream.MsgIDHeader) == d.out.id:
		return answer{verdict: stored, sequence: last.Sequence}
	case last.Sequence <= p.own:
		return answer{verdict: retryable, err: refusal} // from a server that was just deposed
	}
	return answer{verdict: undecidable, err: fmt.Errorf("somebody else publishes on subject %s: entry %d", p.subject, last.Sequence)}
}
