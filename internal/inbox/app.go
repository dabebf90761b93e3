package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// appInboxes keeps the inboxes of one app: it opens their stream, stores what is queued, and
// follows the stream's end. Apps share nothing but the server.
type appInboxes struct {
	inbox *Inbox
	app   string
	// bodies and boxes are the beginnings of the subjects of bodies and inboxes.
	bodies, boxes string

	opened chan struct{} // closed once the stream is there
	stream jetstream.Stream
	queue  queue
	hub    hub
	shares shares
}

func newAppInboxes(b *Inbox, app string) *appInboxes {
	prefix := appPrefix + token(app)
	o := &appInboxes{inbox: b, app: app, bodies: prefix + ".b.", boxes: prefix + ".u.", opened: make(chan struct{})}
	o.queue.init()
	o.hub.init()
	o.shares.init()
	return o
}

// reopenPause is how long an app waits after its stream could not be opened.
const reopenPause = time.Second

// run opens the stream and stores what is queued until the inbox is closed.
func (o *appInboxes) run() {
	defer o.end()
	for {
		err := o.open()
		if err == nil {
			break
		}
		if o.inbox.ctx.Err() != nil {
			return
		}
		o.inbox.logger.Error("the inboxes of an app could not be opened, trying again", "app", o.app, "error", err)
		o.refuse(err)
		select {
		case <-time.After(reopenPause):
		case <-o.inbox.ctx.Done():
			return
		}
	}
	for {
		list := o.queue.take()
		if len(list) == 0 {
			select {
			case <-o.queue.wake:
				continue
			case <-o.inbox.ctx.Done():
				return
			}
		}
		o.store(list)
		o.finish(list)
		o.makeRoom(list)
	}
}

func (o *appInboxes) open() error {
	ctx, cancel := context.WithTimeout(o.inbox.ctx, publishTimeout)
	defer cancel()
	stream, err := openStream(ctx, o.inbox.js, o.inbox.appStream(o.app))
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return err
	}
	o.stream = stream
	o.hub.last.Store(info.State.LastSeq)
	o.inbox.running.Go(o.follow)
	close(o.opened)
	return nil
}

// await waits until the stream is open.
func (o *appInboxes) await(ctx context.Context) error {
	select {
	case <-o.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// within returns a position, or the end of the stream if that is before it: a device's position may
// be of a stream that was lost, or that a restore brought back without its end, and must not skip
// what comes.
func (o *appInboxes) within(ctx context.Context, position uint64) (uint64, error) {
	if position <= o.hub.last.Load() || position < o.inbox.first {
		return position, nil
	}
	info, err := o.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("inbox: %w", err)
	}
	return min(position, info.State.LastSeq), nil
}

// finish gives back the room of messages that were stored, or failed.
func (o *appInboxes) finish(list []*queuedMessage) {
	o.queue.stored(list)
	sum := 0
	for _, l := range list {
		sum += l.cost
	}
	o.inbox.addQueued(-sum)
}

// refuse fails all that waits.
func (o *appInboxes) refuse(err error) {
	for list := o.queue.take(); len(list) > 0; list = o.queue.take() {
		for _, l := range list {
			l.ticket.finish(err)
		}
		o.finish(list)
	}
}

func (o *appInboxes) end() {
	o.queue.close()
	o.refuse(errClosed)
}
