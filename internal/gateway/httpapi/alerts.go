package httpapi

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/projections"
)

// alertBody is an alert of an app. What it is about is rule, subject and time of sending: of these
// there is one.
type alertBody struct {
	Rule      events.AlertRule `json:"rule"`
	Subject   string           `json:"subject"`
	SentFrom  timestamp        `json:"sent_from"`
	SentUntil timestamp        `json:"sent_until"`
	DueAt     timestamp        `json:"due_at"`
	Messages  uint64           `json:"messages"`
	Eligible  uint64           `json:"eligible"`
	Read      uint64           `json:"read"`
	ReadRate  float64          `json:"read_rate"`
}

func newAlertBody(x *projections.Alert) alertBody {
	const hour = projections.HourMillis
	return alertBody{
		Rule: x.Rule, Subject: x.Key, SentFrom: timestamp(x.Hour * hour), SentUntil: timestamp((x.Hour + 1) * hour), DueAt: timestamp(x.Due() * hour),
		Messages: x.Messages, Eligible: x.Eligible, Read: x.Read, ReadRate: float64(x.Read) / float64(x.Eligible),
	}
}

// getAlerts lists the alerts that are kept, newest first.
func (a *API) getAlerts(c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	list, upto, err := a.cfg.State.Alerts(c.app)
	if err != nil {
		return err
	}
	body := struct {
		Alerts      []alertBody `json:"alerts"`
		DecidedUpto timestamp   `json:"decided_upto"`
	}{[]alertBody{}, timestamp(upto * projections.HourMillis)}
	for _, x := range slices.Backward(list[max(0, len(list)-limit):]) {
		body.Alerts = append(body.Alerts, newAlertBody(&x))
	}
	gateway.WriteJSON(c.w, http.StatusOK, body)
	return nil
}

// alertPoll is how often a stream looks for new alerts. They come at whole hours.
const alertPoll = time.Second

// getAlertStream sends an app its alerts, as Server-Sent Events: first those that are kept, then
// each when it is decided, each once on a connection.
//
// The id of an event stands for all alerts that were due until some hour. A client that comes back
// with the last id it got is sent what was due after that, so none is missed; some may be repeated.
// With that of another log it is told to resync, and sent all.
func (a *API) getAlertStream(c *call) error {
	after, foreign := int64(math.MinInt64), false
	if id := c.r.Header.Get("Last-Event-ID"); id != "" {
		place, err := a.placeFrom(id, "Last-Event-ID", listAlerts)
		bad, _ := errors.AsType[*apiError](err)
		if foreign = bad != nil && bad.Code == "foreign_cursor"; err != nil && !foreign {
			return err
		}
		if hour, n := binary.Varint([]byte(place)); place != "" {
			if n != len(place) {
				return invalidCursor("Last-Event-ID")
			}
			after = hour
		}
	}
	if c.r.Method == http.MethodHead {
		startStream(c.w)
		return nil
	}
	ctx, cancel := a.streamContext(c)
	defer cancel(nil)
	release, err := a.streams.admit(c.app, "", func() { cancel(errStreamCrowded) }) // no user
	if err != nil {
		return err
	}
	defer release()
	a.metrics.streams.Inc()
	defer a.metrics.streams.Dec()
	s := &alertStream{
		stream: stream{a: a, c: c, control: http.NewResponseController(c.w)}, after: after, told: map[projections.AlertName]bool{},
	}
	if foreign {
		s.event("resync", struct{}{}, "")
	}
	reason := s.run(ctx)
	s.close(reason)
	a.metrics.ended.WithLabelValues(reason.Error()).Inc()
	return nil
}

// alertStream is one open connection that alerts are sent over.
type alertStream struct {
	stream
	after int64 // the hour until which the client has all
	told  map[projections.AlertName]bool
}

func (s *alertStream) run(ctx context.Context) (reason error) {
	startStream(s.c.w)
	s.buf.WriteString("retry: " + retryMillis + "\n\n")
	look := time.NewTicker(alertPoll)
	defer look.Stop()
	written := time.Now()
	for {
		if err := s.write(); err != nil {
			// The folds are folded again, or stop: what is missing comes when they are there.
			s.a.cfg.Logger.DebugContext(ctx, "stream: alerts could not be read", "error", err)
		}
		if s.buf.Len() == 0 && time.Since(written) >= s.a.cfg.Limits.Heartbeat {
			s.buf.WriteString(":\n\n")
		}
		if s.buf.Len() > 0 {
			if err := s.flush(); err != nil {
				return err
			}
			written = time.Now()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return s.cause(ctx)
		}
	}
}

// write writes the alerts that this connection was not sent yet. Only the last has the id: it
// stands for all of them.
func (s *alertStream) write() error {
	list, upto, err := s.a.cfg.State.Alerts(s.c.app)
	if err != nil {
		return err
	}
	kept := make(map[projections.AlertName]bool, len(list))
	var news []*projections.Alert
	for i := range list {
		x := &list[i]
		if x.Due() <= s.after {
			continue
		}
		kept[x.Name()] = true
		if !s.told[x.Name()] {
			news = append(news, x)
		}
	}
	s.told = kept // what is kept no more does not come again
	for i, x := range news {
		id := ""
		if i == len(news)-1 {
			id = s.a.placeCursor(listAlerts, string(binary.AppendVarint(nil, upto)))
		}
		s.event("alert", newAlertBody(x), id)
	}
	return nil
}
