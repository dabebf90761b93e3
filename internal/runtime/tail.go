package runtime

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
)

// heartbeatEvery is how long a tail is silent before it shows that it is alive.
const heartbeatEvery = 15 * time.Second

// tailPosition is how far a tail is in a partition: after the event with that index in the entry.
type tailPosition struct {
	sequence uint64
	index    int
}

// tail follows the log: a line of JSON for each event, with a cursor to continue after it. Lines of
// one partition are in log order.
type tail struct {
	core      *Core
	w         http.ResponseWriter
	app       string // "org#app", empty for all
	positions []tailPosition
	line      []byte

	fromStart bool // of the log, without a cursor
}

// tailed is what a partition's reader hands to the writer: an entry, decoded in a batch of its own.
type tailed struct {
	partition int
	entry     eventlog.Entry
	batch     *events.Batch
	err       error
	taken     chan<- struct{}
}

func (a *admin) tail(w http.ResponseWriter, r *http.Request) {
	select {
	case a.tails <- struct{}{}:
		defer func() { <-a.tails }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "busy", fmt.Sprintf("%d tails are open already", tailsMost))
		return
	}
	t := &tail{core: a.core, w: w}
	if err := t.parse(r); err != nil {
		code := "bad_request"
		if errors.Is(err, errForeignCursor) {
			code = "foreign_cursor"
		}
		refuse(w, http.StatusBadRequest, code, err.Error())
		return
	}
	readers, err := t.open(r.Context())
	if err != nil {
		status, code := http.StatusServiceUnavailable, "unavailable"
		if errors.Is(err, eventlog.ErrTrimmed) || errors.Is(err, eventlog.ErrAhead) {
			status, code = http.StatusGone, "gone"
		}
		refuse(w, status, code, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	// The client is gone or the server stops: there is nobody to tell.
	_ = t.run(r.Context(), readers)
}

// parse reads what is asked for: one app or all, and from where.
func (t *tail) parse(r *http.Request) (err error) {
	q := r.URL.Query()
	if app := q.Get("app"); app != "" {
		org, name, ok := strings.Cut(app, "/")
		if !ok {
			return fmt.Errorf("app %q is not ORG/APP", app)
		}
		t.app = events.AppKey(org, name)
	}
	if cursor := q.Get("cursor"); cursor != "" {
		t.positions, err = parsePositions(cursor, t.core.Log.Partitions(), t.core.Log.Identity())
		for k := range t.positions {
			if _, upto := t.core.Log.Fork(k); t.positions[k].sequence <= upto && upto > 0 {
				t.positions[k] = positionAfter(upto)
			}
		}
		return err
	}
	switch from := q.Get("from"); from {
	case "", "now":
	case "start":
		t.fromStart = true
	default:
		return fmt.Errorf("from %q is not one of now, start", from)
	}
	return nil
}

// find sets the positions of a tail without a cursor.
func (t *tail) find(ctx context.Context) error {
	for k := range t.core.Log.Partitions() {
		first, last, err := t.core.Log.Bounds(ctx, k)
		if err != nil {
			return err
		}
		if t.fromStart {
			last = max(first, 1) - 1
		}
		_, upto := t.core.Log.Fork(k) // up to there the partition that it forked from tells
		last = max(last, upto)
		t.positions = append(t.positions, positionAfter(last))
	}
	return nil
}

// positionAfter is the position after all events of an entry.
func positionAfter(sequence uint64) tailPosition {
	return tailPosition{sequence, events.MaxBatchEvents}
}

func (t *tail) open(ctx context.Context) (readers []*eventlog.Reader, err error) {
	if t.positions == nil {
		if err := t.find(ctx); err != nil {
			return nil, fmt.Errorf("tail: %w", err)
		}
	}
	for k, p := range t.positions {
		after := p.sequence
		if p.index < events.MaxBatchEvents && after > 0 {
			after-- // the entry itself has more
		}
		r, err := t.core.Log.Read(ctx, k, after)
		if err != nil {
			closeAll(readers)
			return nil, fmt.Errorf("tail partition %d: %w", k, err)
		}
		readers = append(readers, r)
	}
	return readers, nil
}

func closeAll(readers []*eventlog.Reader) {
	for _, r := range readers {
		r.Close()
	}
}

func (t *tail) run(ctx context.Context, readers []*eventlog.Reader) error {
	group, ctx := errgroup.WithContext(ctx)
	entries := make(chan tailed)
	for k, r := range readers {
		group.Go(func() error {
			defer r.Close()
			return t.read(ctx, k, r, entries)
		})
	}
	group.Go(func() error { return t.write(ctx, entries) })
	return group.Wait()
}

func (t *tail) read(ctx context.Context, partition int, r *eventlog.Reader, out chan<- tailed) error {
	taken := make(chan struct{}, 1) // nobody waits for it once the tail has ended
	batch := new(events.Batch)
	for {
		e, err := r.Next(ctx)
		if err != nil {
			return err
		}
		x := tailed{partition: partition, entry: e, batch: batch, taken: taken}
		x.err = events.DecodeEntry(e.Subject, e.Data, e.MsgID, e.Partitions, batch)
		select {
		case out <- x:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-taken: // the batch may be used again
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *tail) write(ctx context.Context, entries <-chan tailed) error {
	flush := http.NewResponseController(t.w).Flush
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	if err := t.heartbeat(); err != nil {
		return err
	}
	for {
		if err := flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if err := t.heartbeat(); err != nil {
				return err
			}
		case x := <-entries:
			err := t.entry(&x)
			x.taken <- struct{}{}
			if err != nil {
				return err
			}
			beat.Reset(heartbeatEvery)
		}
	}
}

func (t *tail) heartbeat() error {
	_, err := fmt.Fprintf(t.w, "{\"cursor\":%q}\n", t.cursor())
	return err
}

func (t *tail) entry(x *tailed) error {
	at := &t.positions[x.partition]
	if x.err != nil {
		*at = positionAfter(x.entry.Sequence)
		if t.app != "" {
			return nil
		}
		line := append(t.head(x, 0), `,"error":`...)
		return t.end(appendText(line, x.err.Error()))
	}
	var e events.Event
	for i := range x.batch.Len() {
		if at.sequence == x.entry.Sequence && i <= at.index {
			continue // the cursor was in the middle of this entry
		}
		if x.batch.Event(i, &e); t.app != "" && e.App != t.app {
			continue
		}
		*at = tailPosition{x.entry.Sequence, i}
		line := append(t.head(x, i), `,"app":`...)
		line = append(appendText(line, e.App), ',')
		body := len(line)
		line = events.AppendJSON(line, &e)
		line = append(line[:body], line[body+1:len(line)-1]...) // without its braces
		if err := t.end(line); err != nil {
			return err
		}
	}
	*at = positionAfter(x.entry.Sequence)
	return nil
}

func (t *tail) head(x *tailed, index int) []byte {
	line := append(t.line[:0], `{"partition":`...)
	line = strconv.AppendInt(line, int64(x.partition), 10)
	line = append(line, `,"sequence":`...)
	line = strconv.AppendUint(line, x.entry.Sequence, 10)
	line = append(line, `,"index":`...)
	line = strconv.AppendInt(line, int64(index), 10)
	line = append(line, `,"stored":"`...)
	line = events.AppendTime(line, x.entry.Time.UnixMilli())
	return append(line, '"')
}

// appendText quotes text as JSON does, which is not as Go does.
func appendText(dst []byte, text string) []byte {
	dst, _ = jsontext.AppendQuote(dst, text) // bytes that are no UTF-8 are replaced
	return dst
}

func (t *tail) end(line []byte) error {
	line = append(line, `,"cursor":"`...)
	line = append(line, t.cursor()...)
	line = append(line, "\"}\n"...)
	t.line = line
	_, err := t.w.Write(line)
	return err
}

// cursor is where the tail stands, as text.
func (t *tail) cursor() string { return formatPositions(t.positions, t.core.Log.Identity()) }

// formatPositions writes the log's identity and all positions.
func formatPositions(positions []tailPosition, identity uint64) string {
	b := fmt.Appendf(nil, "%016x/", identity)
	for k, p := range positions {
		if k > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, p.sequence, 10)
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(p.index), 10)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

var (
	errBadCursor     = errors.New("the cursor is not one of a tail")
	errForeignCursor = errors.New("the cursor is of another log, or of this one before it was restored; begin without it")
)

// parsePositions reads what formatPositions wrote, for this log.
func parsePositions(cursor string, partitions int, identity uint64) ([]tailPosition, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, errBadCursor
	}
	log, list, ok := strings.Cut(string(text), "/")
	switch id, err := strconv.ParseUint(log, 16, 64); {
	case !ok && strings.Contains(log, ":"): // as cursors once were, without the log
		return nil, errForeignCursor
	case !ok || err != nil:
		return nil, errBadCursor
	case id != identity:
		return nil, errForeignCursor
	}
	parts := strings.Split(list, ",")
	for n := len(parts); n < partitions; n = len(parts) { // of before the log was repartitioned
		parts = append(parts, parts...)
	}
	if len(parts) != partitions {
		return nil, errBadCursor
	}
	positions := make([]tailPosition, partitions)
	for k, part := range parts {
		sequence, index, _ := strings.Cut(part, ":")
		if positions[k].sequence, err = strconv.ParseUint(sequence, 10, 63); err != nil {
			return nil, errBadCursor
		}
		if positions[k].index, err = strconv.Atoi(index); err != nil || positions[k].index < 0 || positions[k].index > events.MaxBatchEvents {
			return nil, errBadCursor
		}
	}
	return positions, nil
}
