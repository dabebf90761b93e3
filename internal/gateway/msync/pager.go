package msync

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/consumers/notify"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/inbox"
)

const (
	domainUser  = "easemob.com"
	domainGroup = "conference.easemob.com"

	// repeatAfter is how long a page may be under way before a heartbeat has it sent again.
	repeatAfter = 5 * time.Second
	// retryAfter is how long a session waits after the inbox could not be read.
	retryAfter = time.Second
)

// pager is the state of the goroutine that pushes pages: what was handed to the client, and what
// was acknowledged.
type pager struct {
	// started: the client has asked for what is unread, and may be pushed to.
	started bool
	// out is the page that the client has not acknowledged; nothing else is pushed meanwhile.
	out *page
	// backlog are receipts that were taken from the subscription or the summary and are in no page
	// yet. uptoBacklog are the watermarks that stand once the last of them is seen.
	backlog     []*msyncpb.Meta
	uptoBacklog []uint64
	// resync: the backlog begins with the summary.
	resync bool
	// upto has for each partition the watermark of what was handed out; more is how many items the
	// inbox has beyond the last page.
	upto []uint64
	more int
}

// page is a part of the queue.
type page struct {
	metas []*msyncpb.Meta
	// keys are those it was sent with: one, unless it was repeated.
	keys []uint64
	at   time.Time
	// position is the last sequence of the inbox in it, 0 if it has no messages. upto are the
	// watermarks of its receipts, nil while others of the same push wait.
	position uint64
	upto     []uint64
}

// push sends pages until the session ends, and returns why it ended.
func (c *session) push() error {
	defer c.acknowledgeRest()
	c.pager.resync = true
	for {
		wait, err := c.advance()
		if err != nil {
			return err
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case a := <-c.asks:
			err = c.answerAsk(a)
		case <-c.box.Wake():
		case <-c.sub.Wake():
		case <-due:
		case <-c.ctx.Done():
			return c.why()
		case <-c.srv.draining.Done():
			c.pending.refuse()
			c.pending.wait()
			return errShutdown
		}
		if err != nil {
			return err
		}
	}
}

// advance sends the next page if none is under way. wait is how soon it is worth trying again, 0 if
// something will wake the session.
func (c *session) advance() (wait time.Duration, err error) {
	pg := &c.pager
	if !pg.started || pg.out != nil {
		return 0, nil
	}
	if pg.out, wait, err = c.nextPage(); err != nil || pg.out == nil {
		return wait, err
	}
	return 0, c.sendPage()
}

func (c *session) answerAsk(a ask) error {
	if a.unread {
		return c.answerUnread()
	}
	pg := &c.pager
	switch out := pg.out; {
	case c.acknowledges(a):
		c.acknowledge(out)
		pg.out = nil
	case out != nil && a.key != 0:
		// The acknowledgement of a page that is long acknowledged, or of an earlier connection.
		return c.write(c.lastPage())
	}
	var err error
	if pg.out == nil {
		pg.out, _, err = c.nextPage()
	}
	if err != nil {
		return err
	}
	if pg.out == nil {
		return c.write(c.lastPage())
	}
	return c.sendPage()
}

// acknowledges reports whether the client says that it has the page under way.
func (c *session) acknowledges(a ask) bool {
	out := c.pager.out
	return out != nil && a.key != 0 && slices.Contains(out.keys, a.key)
}

// acknowledgeRest takes the acknowledgements that came before the end of the session and were not
// looked at: a client that acknowledges and leaves is not told again.
func (c *session) acknowledgeRest() {
	for {
		select {
		case a := <-c.asks:
			if c.acknowledges(a) {
				c.acknowledge(c.pager.out)
				c.pager.out = nil
			}
		default:
			return
		}
	}
}

// answerUnread says what waits. The client pulls the queue if anything does.
func (c *session) answerUnread() error {
	pg := &c.pager
	pg.started = true
	answer := &msyncpb.UnreadDown{Status: ok(), Timestamp: proto.Uint64(uint64(time.Now().UnixMilli()))}
	if pg.out == nil {
		c.box.Refresh() // finds what a follower that fell behind has not offered
		var err error
		if pg.out, _, err = c.nextPage(); err != nil {
			return err
		}
	}
	if pg.out != nil && (pg.out.at.IsZero() || time.Since(pg.out.at) > repeatAfter) {
		n := uint32(len(pg.out.metas) + len(pg.backlog) + pg.more)
		answer.Unread = []*msyncpb.UnreadDown_Queue{{Queue: c.queue(), N: &n}}
	}
	return c.write(encode(msyncpb.Frame_UNREAD, answer))
}

// nextPage makes a page of what waits, receipts first, then messages; nil if nothing does.
func (c *session) nextPage() (p *page, wait time.Duration, err error) {
	limits := &c.srv.cfg.Limits
	p = new(page)
	if wait, err = c.fillBacklog(); err != nil {
		return nil, 0, err
	}
	pg := &c.pager
	n := min(len(pg.backlog), max(limits.Page/2, 1))
	p.metas = append(p.metas, pg.backlog[:n]...)
	if pg.backlog = pg.backlog[n:]; len(pg.backlog) == 0 {
		pg.backlog, p.upto, pg.uptoBacklog = nil, pg.uptoBacklog, nil
	}
	if err := c.addMessages(p, limits.Page-n); err != nil {
		c.srv.cfg.Logger.Warn("sdk: an inbox could not be read", "error", err)
		wait = retryAfter
	}
	if len(p.metas) == 0 {
		c.acknowledge(p) // there may be something in it that is not worth a page
		return nil, wait, nil
	}
	return p, 0, nil
}

// readTime bounds one read of the inbox, and the wait for a summary.
const readTime = 5 * time.Second

// addMessages adds up to n messages from the inbox to a page. What this same device has sent is
// left out.
func (c *session) addMessages(p *page, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	for start := len(p.metas); len(p.metas) == start; {
		items, more, err := c.box.Next(ctx, n, c.srv.cfg.Limits.PageBytes)
		c.pager.more = more
		if err != nil || len(items) == 0 {
			return err
		}
		for _, item := range items {
			p.position = item.Sequence
			c.addMessage(p, item)
		}
	}
	return nil
}

func (c *session) addMessage(p *page, item inbox.Item) {
	meta := new(msyncpb.Meta)
	if err := proto.Unmarshal(item.Data, meta); err != nil || meta.From == nil {
		c.srv.cfg.Logger.Error("sdk: an inbox holds something that is not a message", "sequence", item.Sequence, "error", err)
		return
	}
	if meta.From.GetName() == c.user && meta.From.GetResource() == c.device {
		return
	}
	p.metas = append(p.metas, meta)
	c.srv.metrics.pushed.WithLabelValues("message").Inc()
}

// fillBacklog takes receipts if none are left. wait is how soon more are due.
func (c *session) fillBacklog() (wait time.Duration, err error) {
	pg := &c.pager
	if len(pg.backlog) > 0 {
		return 0, nil
	}
	if pg.resync {
		return 0, c.takeSummary()
	}
	push, wait, err := c.sub.Poll()
	switch {
	case errors.Is(err, notify.ErrClosed):
		return 0, errShutdown
	case err != nil:
		return 0, err
	case push.Resync:
		return 0, c.takeSummary()
	case push.Missed != nil:
		return 0, c.takeMissed(push.Missed)
	}
	for i := range push.Notifications {
		pg.backlog = c.appendReceipt(pg.backlog, &push.Notifications[i])
	}
	if push.Upto != nil {
		for k, sequence := range push.Upto {
			pg.upto[k] = max(pg.upto[k], sequence)
		}
		pg.uptoBacklog = slices.Clone(pg.upto)
	}
	return wait, nil
}

// takeSummary puts the author's summary into the backlog.
func (c *session) takeSummary() error {
	pg := &c.pager
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	c.srv.seen.settle(ctx, c.app, c.user)
	summary, err := c.srv.summaries.Summary(c.app, c.user, c.device)
	if err != nil {
		c.srv.cfg.Logger.Error("sdk: a summary could not be read", "error", err)
		return errInternal
	}
	if pg.upto == nil && len(summary.Upto) > 0 { // the first time: from now on the device is known
		c.srv.seen.note(c.app, c.user, c.device, make([]uint64, len(summary.Upto)))
		if c.srv.cfg.OtherNodes != nil {
			c.srv.seen.soon(c.app, c.user)
		}
	}
	pg.resync = false
	c.queueSummary(&summary)
	return nil
}

// takeMissed puts into the backlog what was not pushed.
func (c *session) takeMissed(after map[int]uint64) error {
	summary, err := c.srv.summaries.Missed(c.app, c.user, c.device, after, c.pager.upto)
	if err != nil {
		c.srv.cfg.Logger.Error("sdk: what was not pushed could not be read", "error", err)
		return errInternal
	}
	c.queueSummary(&summary)
	return nil
}

// queueSummary puts a summary into the backlog.
func (c *session) queueSummary(summary *notify.Summary) {
	pg := &c.pager
	c.sub.SkipRemoteUpto(summary.Upto)
	pg.upto = notify.Higher(pg.upto, summary.Upto)
	if pg.backlog = c.appendSummary(pg.backlog, summary); len(pg.backlog) > 0 {
		pg.uptoBacklog = slices.Clone(pg.upto)
	}
}

// acknowledge notes that the client has a page.
func (c *session) acknowledge(p *page) {
	if p.position > 0 {
		c.box.Acknowledge(p.position)
	}
	if p.upto != nil {
		c.srv.seen.note(c.app, c.user, c.device, p.upto)
	}
}

// sendPage sends the page under way, again if it was sent before.
func (c *session) sendPage() error {
	p := c.pager.out
	key := c.srv.cfg.IDs.Next()
	if len(p.keys) > 0 {
		c.srv.metrics.repeated.Inc()
	}
	if len(p.keys) == maxKeys {
		p.keys = p.keys[1:]
	}
	p.keys = append(p.keys, key)
	p.at = time.Now()
	c.srv.metrics.pages.Inc()
	return c.write(encode(msyncpb.Frame_SYNC, &msyncpb.SyncDown{
		Status: ok(), Queue: c.queue(), Metas: p.metas, NextKey: &key, IsLast: proto.Bool(false), Timestamp: proto.Uint64(uint64(p.at.UnixMilli())),
	}))
}

// maxKeys bounds the keys remembered of a page that was repeated.
const maxKeys = 4

// queue names the client's only queue.
func (c *session) queue() *msyncpb.Name {
	return &msyncpb.Name{Name: proto.String("inbox:" + c.user), Domain: proto.String(domainUser)}
}

// lastPage is the page that ends a pull.
func (c *session) lastPage() []byte {
	return encode(msyncpb.Frame_SYNC, &msyncpb.SyncDown{Status: ok(), Queue: c.queue(), IsLast: proto.Bool(true)})
}
