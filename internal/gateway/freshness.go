package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/receiptd/receiptd/events/eventlog"
)

// Headers of positions. An answer says by the first up to where its state was folded, as partition
// and sequence, and where the log has what the request appended; a request by it, or by the
// parameter at_least, asks for an answer that has at least that. The second one is the log's
// identity, without which positions mean nothing, and the third one the node that answers.
const (
	PositionHeader = "Receiptd-Position"
	LogHeader      = "Receiptd-Log"
	NodeHeader     = "Receiptd-Node"
)

// CatchUpTime is how long a request waits for the state to be as new as it asks for, unless it is
// said otherwise.
const CatchUpTime = 5 * time.Second

var (
	// ErrBehind: the state has not come in time to a position that was asked for.
	ErrBehind = errors.New("this server has not folded the log up to the position in time; ask again, or another one")
	// ErrNotFresh: it was not shown in time that the state has everything.
	ErrNotFresh = errors.New("the log did not show in time that this server has everything; ask again, or without consistency=strong")
)

// PositionError is a position that cannot be asked for.
type PositionError struct {
	// Field is the parameter or header.
	Field, Problem string
	// Foreign: it is of another log.
	Foreign bool
}

// Error implements error.
func (e *PositionError) Error() string { return e.Field + ": " + e.Problem }

// Positions knows how far the state is folded.
type Positions interface {
	// Folded is the last entry folded, of each partition.
	Folded() []uint64
	// WaitFor waits until a partition has folded an entry.
	WaitFor(ctx context.Context, partition int, sequence uint64) error
	// Strong waits until the state has everything that was acknowledged before the call.
	Strong(ctx context.Context) error
}

// Freshness has answers be as new as is asked for, and says how new they are.
type Freshness struct {
	Positions
	// Partitions is the number of partitions of the log, and Log its identity.
	Partitions int
	Log        uint64
	// Node is the name of this node; empty for a server that is alone.
	Node string
}

// Await waits until the state is as new as a request asks for, and so long at most. The errors are
// [ErrBehind], [ErrNotFresh], a [*PositionError], and what is the matter with the state.
func (f *Freshness) Await(ctx context.Context, r *http.Request, most time.Duration) error {
	header := r.Header.Get(PositionHeader)
	if header == "" && !strings.Contains(r.URL.RawQuery, "at_least") && !strings.Contains(r.URL.RawQuery, "consistency") {
		return nil // nearly all; parsing allocates
	}
	query := r.URL.Query()
	wanted, err := f.parse("at_least", query.Get("at_least"), "")
	if err != nil {
		return err
	}
	more, err := f.parse(PositionHeader, header, r.Header.Get(LogHeader))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	switch consistency := query.Get("consistency"); consistency {
	case "", "local":
	case "strong":
		if err := f.Strong(ctx); err != nil {
			return late(ErrNotFresh, err)
		}
	default:
		return &PositionError{Field: "consistency", Problem: "neither local nor strong"}
	}
	for _, p := range append(wanted, more...) {
		if err := f.WaitFor(ctx, p.Partition, p.Sequence); err != nil {
			return late(ErrBehind, err)
		}
	}
	return nil
}

// late is said when the state is not new enough in time; any other error is err.
func late(said, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventlog.ErrUnavailable) || errors.Is(err, eventlog.ErrOverloaded) {
		return said
	}
	return err
}

// parse reads positions like 0:12,3:44, which may be followed by @ and the identity of the log that
// they are of.
func (f *Freshness) parse(field, text, log string) (list []eventlog.Position, err error) {
	text, identity, named := strings.Cut(text, "@")
	if !named {
		identity = log
	}
	if identity != "" && identity != f.identity() {
		if _, err := strconv.ParseUint(identity, 16, 64); err != nil || len(identity) != 16 {
			return nil, &PositionError{Field: field, Problem: "after @ the identity of a log, 16 hexadecimal digits, is expected"}
		}
		return nil, &PositionError{Field: field, Problem: "of another log, or of this one before it was restored", Foreign: true}
	}
	if text == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		partition, sequence, ok := strings.Cut(strings.TrimSpace(item), ":")
		k, err1 := strconv.ParseUint(partition, 10, 31)
		at, err2 := strconv.ParseUint(sequence, 10, 63)
		if !ok || err1 != nil || err2 != nil {
			return nil, &PositionError{Field: field, Problem: "not positions like 0:12,3:44"}
		}
		if int(k) >= f.Partitions && f.Node != "" && int(k) < 2*f.Partitions {
			return nil, ErrBehind // a node that has not heard yet that the log was repartitioned
		}
		if int(k) >= f.Partitions {
			return nil, &PositionError{Field: field, Problem: fmt.Sprintf("no partition %d; the log has %d", k, f.Partitions)}
		}
		list = append(list, eventlog.Position{Partition: int(k), Sequence: at})
	}
	return list, nil
}

func (f *Freshness) identity() string { return fmt.Sprintf("%016x", f.Log) }

// Stamp says in the header of an answer which node gave it, and up to where its state was folded:
// at least to where whatever is in the answer was read, and to what the request appended.
func (f *Freshness) Stamp(h http.Header, appended []eventlog.Position) {
	at := f.Folded()
	for _, p := range appended {
		at[p.Partition] = max(at[p.Partition], p.Sequence)
	}
	b := make([]byte, 0, 16*len(at))
	for k, sequence := range at {
		if sequence > 0 {
			b = strconv.AppendInt(b, int64(k), 10)
			b = append(strconv.AppendUint(append(b, ':'), sequence, 10), ',')
		}
	}
	if len(b) > 0 {
		h.Set(PositionHeader, string(b[:len(b)-1]))
	}
	h.Set(LogHeader, f.identity())
	h.Set(NodeHeader, f.Node)
}
