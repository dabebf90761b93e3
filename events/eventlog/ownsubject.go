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
	if a.verdict != overtaken && (a.verdict != stored || !d.inDoubt) {
		return a
	}
	ctx, cancel := context.WithTimeout(d.p.log.stopping, requestTimeout)
	defer cancel()
	if a.verdict == stored {
		return d.firstOwn(ctx, a)
	}
	last, err := leader.Last(ctx, d.p.log.read.nc, streamName(d.p.partition), d.p.subject)
	return d.judgeOwn(ctx, last, err, a.err)
}

// judgeOwn says what became of an entry that the server did not store because it is not the next
// one on the subject, by what is the last one there.
func (d *publication) judgeOwn(ctx context.Context, last leader.Message, err, refusal error) answer {
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
	case last.Sequence <= p.own:
		return answer{verdict: retryable, err: refusal} // from a server that was just deposed
	}
	first, end, err := d.lookOwn(ctx)
	switch {
	case err != nil:
		return answer{verdict: retryable, err: fmt.Errorf("look for the entry: %w", err)}
	case first != 0:
		p.own = end
		return answer{verdict: stored, sequence: first}
	case !p.named(last.Header.Get(jetstream.MsgIDHeader)): // the log has failed
		err := fmt.Errorf("%w: %w: entry %d on subject %s", ErrUnavailable, ErrFenced, last.Sequence, p.subject)
		return answer{verdict: refused, err: err}
	}
	// An earlier entry was stored once more, by a server that had lost it.
	p.own = max(end, last.Sequence)
	return answer{verdict: overtaken, err: refusal}
}

// firstOwn is the answer for an entry that was in doubt and is stored. A server that has lost what
// an earlier try stored stores it again, and answers with where: what was decided about the entry
// is what was decided where it is first.
func (d *publication) firstOwn(ctx context.Context, a answer) answer {
	first, end, err := d.lookOwn(ctx)
	switch {
	case err != nil:
		return answer{verdict: retryable, err: fmt.Errorf("look for the entry: %w", err)}
	case first == 0: // a server that lags
		return a
	}
	d.p.own = max(end, a.sequence)
	a.sequence = first
	return a
}

// lookOwn looks for the entry on the publisher's own subject after the last one that is known
// there: first is where it is, 0 if it is not, and end the last entry of the publisher. One of
// somebody else is a fence, whatever became of the entry: nothing follows it.
func (d *publication) lookOwn(ctx context.Context) (first, end uint64, err error) {
	p := d.p
	for end = p.own; ; {
		m, err := leader.Next(ctx, p.log.read.nc, streamName(p.partition), end+1, p.subject)
		switch {
		case errors.Is(err, leader.ErrNotFound):
			return first, end, nil
		case err != nil:
			return 0, 0, err
		case !p.named(m.Header.Get(jetstream.MsgIDHeader)):
			p.log.fail(ErrFenced)
			return first, end, nil
		case first == 0 && m.Header.Get(jetstream.MsgIDHeader) == d.out.id:
			first = m.Sequence
		}
		end = m.Sequence
	}
}
