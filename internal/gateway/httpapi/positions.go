package httpapi

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
// identity, without which positions mean nothing.
const (
	positionHeader = "Receiptd-Position"
	logHeader      = "Receiptd-Log"
	nodeHeader     = "Receiptd-Node"
)

// Positions knows how far the state is folded.
type Positions interface {
	// Folded is the last entry folded, of each partition.
	Folded() []uint64
	// WaitFor waits until a partition has folded an entry.
	WaitFor(ctx context.Context, partition int, sequence uint64) error
	// Strong waits until the state has everything that was acknowledged before the call.
	Strong(ctx context.Context) error
}

var (
	errBehind = newError(http.StatusServiceUnavailable, "behind",
		"this server has not folded the log up to the position in time; ask again, or another one").again(1)
	errNotFresh = newError(http.StatusServiceUnavailable, "not_fresh",
		"the log did not show in time that this server has everything; ask again, or without consistency=strong").again(1)
)

// awaitPosition waits until the state is as new as the request asks for.
func (a *API) awaitPosition(c *call) error {
	header := c.r.Header.Get(positionHeader)
	if header == "" && !strings.Contains(c.r.URL.RawQuery, "at_least") && !strings.Contains(c.r.URL.RawQuery, "consistency") {
		return nil // nearly all; parsing allocates
	}
	query := c.r.URL.Query()
	wanted, err := a.parsePositions("at_least", query.Get("at_least"), "")
	if err != nil {
		return err
	}
	more, err := a.parsePositions(positionHeader, header, c.r.Header.Get(logHeader))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), min(a.cfg.Limits.Catch, time.Until(c.deadline)))
	defer cancel()
	switch consistency := query.Get("consistency"); consistency {
	case "", "local":
	case "strong":
		if err := a.cfg.Positions.Strong(ctx); err != nil {
			return lateAnswer(errNotFresh, err)
		}
	default:
		return invalid("consistency", "neither local nor strong")
	}
	for _, p := range append(wanted, more...) {
		if err := a.cfg.Positions.WaitFor(ctx, p.Partition, p.Sequence); err != nil {
			return lateAnswer(errBehind, err)
		}
	}
	return nil
}

// lateAnswer is the answer when the state is not new enough in time, or err.
func lateAnswer(answer *apiError, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventlog.ErrUnavailable) || errors.Is(err, eventlog.ErrOverloaded) {
		return answer
	}
	return err
}

// parsePositions reads positions like 0:12,3:44, which may be followed by @ and the identity of the
// log that they are of.
func (a *API) parsePositions(field, text, log string) (list []eventlog.Position, err error) {
	text, identity, named := strings.Cut(text, "@")
	if !named {
		identity = log
	}
	if identity != "" && identity != a.identity() {
		if _, err := strconv.ParseUint(identity, 16, 64); err != nil || len(identity) != 16 {
			return nil, invalid(field, "after @ the identity of a log, 16 hexadecimal digits, is expected")
		}
		return nil, foreignCursor(field)
	}
	if text == "" {
		return nil, nil
	}
	for item := range strings.SplitSeq(text, ",") {
		partition, sequence, ok := strings.Cut(strings.TrimSpace(item), ":")
		k, err1 := strconv.ParseUint(partition, 10, 31)
		at, err2 := strconv.ParseUint(sequence, 10, 63)
		if !ok || err1 != nil || err2 != nil {
			return nil, invalid(field, "not positions like 0:12,3:44")
		}
		if int(k) >= a.cfg.Partitions && a.cfg.Cluster != nil && a.cfg.Cluster.Name() != "" && int(k) < 2*a.cfg.Partitions {
			return nil, errBehind // a node that has not heard yet that the log was repartitioned
		}
		if int(k) >= a.cfg.Partitions {
			return nil, invalid(field, fmt.Sprintf("no partition %d; the log has %d", k, a.cfg.Partitions))
		}
		list = append(list, eventlog.Position{Partition: int(k), Sequence: at})
	}
	return list, nil
}

func (a *API) identity() string { return fmt.Sprintf("%016x", a.cfg.Identity) }

// stamp says in the header of an answer which node gave it, and up to where its state was folded:
// at least to where whatever is in the answer was read, and to what the request appended.
func (a *API) stamp(h http.Header, stored []eventlog.Position) {
	at := a.cfg.Positions.Folded()
	for _, p := range stored {
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
		h.Set(positionHeader, string(b[:len(b)-1]))
	}
	h.Set(logHeader, a.identity())
	h.Set(nodeHeader, a.cfg.Cluster.Name())
}
