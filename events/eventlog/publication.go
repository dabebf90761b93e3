package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ackTimeout is how long a try waits for its acknowledgement. A disk that is slower than this
	// causes a retry, which the server recognises.
	ackTimeout = 5 * time.Second

	retryFirst = 20 * time.Millisecond
	retryMax   = time.Second
)

// publication is one entry on its way into the log, over all its tries.
type publication struct {
	p   *publisher
	out *outgoing

	// inDoubt says that an earlier try may have stored the entry; since is when that try began.
	inDoubt bool
	since   time.Time
	// searched is the sequence up to which the log was searched for the entry.
	searched uint64
}

// store brings one entry into the log, or finds out that it cannot be stored. It tries again until
// one of the two is certain, or the log stops.
func (p *publisher) store(out *outgoing) {
	p.stats.begin()
	d := publication{p: p, out: out}
	var retry *backoff.ExponentialBackOff
	for {
		if p.log.stopping.Err() != nil {
			p.finish(out, 0, d.abandon())
			return
		}
		a := d.try()
		switch {
		case a.verdict == stored && a.sequence <= p.last:
			p.log.fail(&AheadError{Partition: p.partition, After: p.last, Last: a.sequence})
			p.finish(out, 0, d.abandon())
			return
		case a.verdict == stored:
			p.finish(out, a.sequence, nil)
			return
		case a.verdict == refused && !d.inDoubt:
			p.finish(out, 0, a.err)
			return
		case a.verdict == undecidable:
			p.finish(out, 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, a.err))
			return
		}
		p.stats.retries.Add(1)
		p.log.checkServer(a)
		if a.verdict != overtaken {
			p.log.logger.Warn("an entry is not stored yet", slog.Int("partition", p.partition), slog.Int("events", out.events),
				slog.Bool("in_doubt", d.inDoubt), slog.Any("error", a.err))
			if retry == nil {
				retry = newBackOff()
			}
			p.pause(retry.NextBackOff())
		}
	}
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(retryFirst),
		backoff.WithMaxInterval(retryMax),
		backoff.WithMaxElapsedTime(0), // the caller's context says when to stop waiting
	)
}

// pause waits before another try: for some time, and until there is a connection.
func (p *publisher) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.log.stopping.Done():
		return
	}
	select {
	case <-p.log.write.connected():
	case <-p.log.stopping.Done():
	}
}

// checkServer fails the log if it is the embedded server itself that cannot store.
func (l *Log) checkServer(a answer) {
	if l.server == nil || a.verdict != unknown && a.verdict != retryable {
		return
	}
	if err := l.server.failure(); err != nil {
		l.fail(err)
	}
}

// try makes one try. As long as the server is sure to remember the entry's id, a retry simply sends
// it again. After that, the log itself is searched, and the entry is sent on the condition that
// nothing came after what was searched.
func (d *publication) try() answer {
	if err := d.p.log.ReserveDisk(int64(len(d.out.payload))); err != nil {
		return answer{verdict: refused, err: err}
	}
	if d.p.log.cfg.Node != "" {
		return d.tryOwn()
	}
	var expect expectation
	if d.inDoubt && elapsed(d.since) > d.p.log.cfg.hooks.trustWindow() {
		sequence, last, err := d.find()
		switch {
		case errors.Is(err, ErrTrimmed), errors.Is(err, ErrGap):
			return answer{verdict: undecidable, err: err}
		case err != nil:
			return answer{verdict: retryable, err: fmt.Errorf("look for the entry: %w", err)}
		}
		if sequence != 0 {
			return answer{verdict: stored, sequence: sequence}
		}
		expect = expectation{jetstream.ExpectedLastSeqHeader, last}
	}
	return d.attempt(expect)
}

// attempt sends the entry, and notes whether it is in doubt from then on.
func (d *publication) attempt(expect expectation) answer {
	begin := time.Now()
	a := d.send(expect)
	if a.verdict == unknown && !d.inDoubt {
		d.inDoubt, d.since = true, begin
	}
	return a
}

// expectation is the condition on which the server stores an entry: a header of JetStream and the
// sequence in it. The zero value is none.
type expectation struct {
	header   string
	sequence uint64
}

// abandon gives an entry up because the log stops, and returns the error that its tickets get.
func (d *publication) abandon() error {
	d.p.log.dropped.Add(int64(d.out.events))
	reason := context.Cause(d.p.log.stopping)
	if d.inDoubt {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, reason)
	}
	return reason
}

// elapsed is the time since t by the clock that says more: the monotonic clock stands still while
// the machine sleeps, and the wall clock may be set back.
func elapsed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// send publishes the entry and waits for the answer. While it waits, it encodes the next entry if
// that cannot grow any more.
func (d *publication) send(expect expectation) answer {
	p := d.p
	m := &nats.Msg{
		Subject: p.subject,
		Reply:   p.replies + strconv.FormatUint(d.out.number, 36),
		Header:  nats.Header{jetstream.MsgIDHeader: {d.out.id}},
		Data:    d.out.payload,
	}
	if expect.header != "" {
		m.Header[expect.header] = []string{strconv.FormatUint(expect.sequence, 10)}
	}
	lost := p.log.write.lost()
	switch err := p.log.write.nc.PublishMsg(m); {
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return answer{verdict: retryable, err: fmt.Errorf("not connected: %w", err)}
	case errors.Is(err, nats.ErrMaxPayload):
		return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
	case err != nil:
		return answer{verdict: unknown, err: err}
	}
	if p.next == nil {
		if b := p.take(true); b != nil {
			p.next = p.encode(b)
		}
	}
	return d.receive(m.Reply, lost)
}

// receive waits for the answer. It may be the answer to an earlier try of the entry, which says
// just as much: if that try did not store the entry either, the entry is in doubt already.
func (d *publication) receive(reply string, lost <-chan struct{}) answer {
	timeout := time.NewTimer(d.p.log.cfg.hooks.ackTimeout())
	defer timeout.Stop()
	for {
		select {
		case m := <-d.p.acks:
			if m.Subject == reply { // any other is late, of an entry that was found in the log
				return judge(m)
			}
		case <-lost:
			return answer{verdict: unknown, err: errors.New("connection lost before the acknowledgement")}
		case <-timeout.C:
			return answer{verdict: unknown, err: errors.New("no acknowledgement in time")}
		case <-d.p.log.stopping.Done():
			return answer{verdict: unknown, err: context.Cause(d.p.log.stopping)}
		}
	}
}
