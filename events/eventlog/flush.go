package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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

// verdict is what became of one try to store an entry.
type verdict int

const (
	// stored: the entry is in the log, by this try or an earlier one.
	stored verdict = iota
	// refused: this try stored nothing, and another one would not either.
	refused
	// busy: this try stored nothing; another one may.
	busy
	// overtaken: this try stored nothing, since the log is not at the expected sequence.
	overtaken
	// unknown: the try may or may not have stored the entry.
	unknown
	// hopeless: an earlier try may have stored the entry, and it can never be found out.
	hopeless
)

type answer struct {
	verdict  verdict
	sequence uint64
	err      error
}

// run is the flusher: it stores batches until the queue is closed and empty, or the log stops.
func (p *partition) run() {
	for {
		out := p.next
		p.next = nil
		if out == nil {
			p.pace()
			b := p.await()
			if b == nil {
				return
			}
			out = p.encode(b)
		}
		p.begun, p.events, p.submits = time.Now(), out.events, out.submits
		p.store(out)
	}
}

// Under load an entry follows the one before no sooner than entryEvery. Each costs the same dozen of switches between goroutines and a sync, and
// names its conversations and users again, on the way in and in every fold: at half of the full load, entries that come as fast as the
// disk takes them cost a fifth more processor time, which those who wait then miss; of single receipts by many producers, a third. Load is
// many events, or many that come at the same time: whoever submits alone, one after the other, never waits.
const (
	entryEvery      = time.Millisecond
	paceFromEvents  = 256
	paceFromSubmits = 8
)

// pace waits until the next entry may begin.
func (p *partition) pace() {
	if p.events < paceFromEvents && p.submits < paceFromSubmits {
		return
	}
	if wait := entryEvery - time.Since(p.begun); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.log.stopping.Done():
		}
	}
}

// store brings one entry into the log, or finds out that it cannot be. It tries again until one of
// the two is certain, or the log stops.
func (p *partition) store(out *outgoing) {
	p.stats.begin()
	d := delivery{p: p, out: out}
	var retry *backoff.ExponentialBackOff
	for {
		if p.log.stopping.Err() != nil {
			p.finish(out, 0, d.abandoned())
			return
		}
		a := d.try()
		switch {
		case a.verdict == stored && a.sequence <= p.last:
			p.log.fail(&AheadError{Partition: p.id, After: p.last, Last: a.sequence})
			p.finish(out, 0, d.abandoned())
			return
		case a.verdict == stored:
			p.finish(out, a.sequence, nil)
			return
		case a.verdict == refused && !d.doubt:
			p.finish(out, 0, a.err)
			return
		case a.verdict == hopeless:
			p.finish(out, 0, fmt.Errorf("%w: %w", ErrUnknownOutcome, a.err))
			return
		}
		p.stats.retries.Add(1)
		p.log.checkServer(a)
		if a.verdict != overtaken {
			p.log.logger.Warn("an entry is not stored yet", slog.Int("partition", p.id), slog.Int("events", out.events),
				slog.Bool("in_doubt", d.doubt), slog.Any("error", a.err))
			if retry == nil {
				retry = newBackOff()
			}
			p.pause(retry.NextBackOff())
		}
	}
}

// finish tells the tickets.
func (p *partition) finish(out *outgoing, sequence uint64, err error) {
	if err == nil {
		p.last = sequence
	}
	p.stats.end(out, sequence, err)
	out.entry.sequence, out.entry.err = sequence, err
	close(out.entry.done)
	p.release(out.room)
}

func newBackOff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(retryFirst),
		backoff.WithMaxInterval(retryMax),
		backoff.WithMaxElapsedTime(0), // the caller's context says when to stop waiting
	)
}

// pause waits before another try: some time, and until there is a connection.
func (p *partition) pause(d time.Duration) {
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
	if l.server == nil || a.verdict != unknown && a.verdict != busy {
		return
	}
	if err := l.server.failure(); err != nil {
		l.fail(err)
	}
}

// delivery is the way of one entry into the log.
type delivery struct {
	p   *partition
	out *outgoing

	// doubt says that an earlier try may have stored the entry; since is when that began.
	doubt bool
	since time.Time
	// searched is the sequence up to which the log was searched for the entry.
	searched uint64
}

// try makes one try. As long as the server is sure to remember the entry's id, a retry is just sent
// again. After that, the log itself is searched, and the entry sent on the condition that nothing
// came after what was searched.
func (d *delivery) try() answer {
	if err := d.p.log.hasRoom(len(d.out.payload)); err != nil {
		return answer{verdict: refused, err: err}
	}
	expect := ""
	if d.doubt && elapsed(d.since) > d.p.log.cfg.hooks.trustWindow() {
		sequence, last, err := d.p.find(d)
		switch {
		case errors.Is(err, ErrTrimmed), errors.Is(err, ErrGap):
			return answer{verdict: hopeless, err: err}
		case err != nil:
			return answer{verdict: busy, err: fmt.Errorf("look for the entry: %w", err)}
		}
		if sequence != 0 {
			return answer{verdict: stored, sequence: sequence}
		}
		expect = strconv.FormatUint(last, 10)
	}
	begin := time.Now()
	a := d.send(expect)
	if a.verdict == unknown && !d.doubt {
		d.doubt, d.since = true, begin
	}
	return a
}

// abandoned is the error of an entry that is given up because the log stops.
func (d *delivery) abandoned() error {
	d.p.log.dropped.Add(int64(d.out.events))
	reason := context.Cause(d.p.log.stopping)
	if d.doubt {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, reason)
	}
	return reason
}

// elapsed is the time since t by the clock that says more: the monotonic one stands still while the
// machine sleeps, the other one may be set back.
func elapsed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

func (l *Log) hasRoom(n int) error {
	if l.server == nil {
		return nil
	}
	return l.server.space.take(int64(n))
}

// send publishes the entry and waits for the answer. While it waits it encodes the next entry, if
// that grows no more.
func (d *delivery) send(expect string) answer {
	p := d.p
	m := &nats.Msg{
		Subject: p.subject,
		Reply:   p.inbox + strconv.FormatUint(d.out.n, 36),
		Header:  nats.Header{jetstream.MsgIDHeader: {d.out.id}},
		Data:    d.out.payload,
	}
	if expect != "" {
		m.Header[jetstream.ExpectedLastSeqHeader] = []string{expect}
	}
	lost := p.log.write.lost()
	switch err := p.log.write.nc.PublishMsg(m); {
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed):
		return answer{verdict: busy, err: fmt.Errorf("not connected: %w", err)}
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

// receive waits for the answer. It may be that to an earlier try of the entry, which says as much:
// if that try did not store the entry either, there is doubt already.
func (d *delivery) receive(reply string, lost <-chan struct{}) answer {
	timeout := time.NewTimer(d.p.log.cfg.hooks.ackTimeout())
	defer timeout.Stop()
	for {
		select {
		case m := <-d.p.acks:
			if m.Subject == reply { // rather than late, of an entry that was found in the log
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

// Error codes of JetStream. A publisher gets no names for them from its client library.
const (
	codeAccountResources    = 10002
	codeServerResources     = 10023
	codeStorageResources    = 10047
	codeWrongLastSequence   = 10071
	codeStoreFailed         = 10077
	codeIDInProcess         = 10158
	codeWrongLastReplicated = 10164
)

// judge reads the server's answer to a try.
func judge(m *nats.Msg) answer {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return answer{verdict: busy, err: nats.ErrNoResponders}
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return answer{verdict: unknown, err: fmt.Errorf("acknowledgement: %w", err)}
	}
	if ack.Error == nil {
		if ack.Sequence == 0 {
			return answer{verdict: unknown, err: errors.New("acknowledgement without a sequence")}
		}
		return answer{verdict: stored, sequence: ack.Sequence}
	}
	err := ack.Error
	switch err.ErrorCode {
	case codeAccountResources, codeServerResources, codeStorageResources:
		return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrLogFull, err)}
	case codeWrongLastSequence, codeWrongLastReplicated:
		return answer{verdict: overtaken, err: err}
	case codeStoreFailed:
		// Of a store that fails otherwise, nats-server tells nothing at all.
		if strings.HasPrefix(err.Description, "maximum ") {
			return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrLogFull, err)}
		}
		return answer{verdict: busy, err: err}
	case codeIDInProcess:
		return answer{verdict: unknown, err: err} // an earlier try is on its way through the cluster
	}
	if err.Code == 429 || err.Code >= 500 {
		return answer{verdict: busy, err: err}
	}
	return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
}
