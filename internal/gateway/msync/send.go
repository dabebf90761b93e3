package msync

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/internal/gateway"
	"github.com/receiptd/receiptd/internal/gateway/admission"
	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
	"github.com/receiptd/receiptd/internal/inbox"
	"github.com/receiptd/receiptd/projections"
)

// Answers other than those of the folds. Where the SDK has an error of its own for a reason, the
// text is the vendor's.
var (
	sendTooFast     = refusal{msyncpb.Status_PERMISSION_DENIED, "traffic limit"}
	sendTooLarge    = refusal{msyncpb.Status_PERMISSION_DENIED, "Sorry, data is too large"}
	sendMalformed   = refusal{msyncpb.Status_FAIL, "malformed message"}
	sendUnsupported = refusal{msyncpb.Status_FAIL, "not supported"}
	sendBusy        = refusal{msyncpb.Status_FAIL, "server is busy"}
	sendUnknown     = refusal{msyncpb.Status_FAIL, "not known whether it was stored"}
	sendUndelivered = refusal{msyncpb.Status_FAIL, "could not be delivered"}
	sendNotFound    = refusal{msyncpb.Status_FAIL, events.RejectedNotFound.Reason()}
	sendNoMessage   = refusal{msyncpb.Status_FAIL, events.RejectedNoMessage.Reason()}
	sendNotMember   = refusal{msyncpb.Status_FAIL, events.RejectedNotMember.Reason()}
)

// pendingSend is one Meta of a client on its way to an answer.
type pendingSend struct {
	metaID uint64
	id     uint64 // the server's
	at     time.Time
	event  events.Event // Kind is KindUnknown for a command, which is none
	ticket *eventlog.Ticket
	// body is what recipients get; nil for receipts.
	body     *msyncpb.Body
	route    msyncpb.Meta_Route
	directed []string
	refused  *refusal
	stored   *inbox.Ticket // of the message to the inboxes; nil before that
}

// send begins what a client sent. The answer comes from complete, in the order of the sends.
func (c *session) send(meta *msyncpb.Meta) error {
	if !c.pending.admit(c.ctx.Done()) {
		// No answer: the SDK reports that the connection broke.
		return nil
	}
	x := &pendingSend{metaID: meta.GetId(), id: c.srv.cfg.IDs.Next(), at: time.Now()}
	if x.refused = c.classify(x, meta); x.refused == nil {
		c.submit(x)
	}
	c.pending.add(x, func(list []*pendingSend) {
		c.srv.guard(func() { c.complete(list) })
	})
	return nil
}

// submit queues the event for the log; complete waits for it.
func (c *session) submit(x *pendingSend) {
	// The SDK sends it unasked, and must get no error.
	quiet := x.event.Kind == events.MessageDelivered
	switch {
	case quiet:
		ctx, cancel := context.WithTimeout(context.Background(), c.srv.cfg.Limits.Answer)
		_ = c.sends.Wait(ctx) // a user who sends too many waits
		cancel()
	case !c.sends.Allow():
		x.refused = &sendTooFast
		return
	}
	if x.event.Kind == events.KindUnknown {
		return
	}
	if bad, ok := errors.AsType[*events.FieldError](x.event.Validate()); ok {
		x.refused = &refusal{msyncpb.Status_FAIL, bad.Field + ": " + bad.Problem}
		if bad.Field == "content" {
			x.refused = &sendTooLarge
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.srv.cfg.Limits.Answer)
	defer cancel()
	var err error
	if x.ticket, err = c.admitted(ctx, []events.Event{x.event}); err != nil {
		c.srv.cfg.Logger.Warn("sdk: an event was refused by the log", "kind", x.event.Kind, "error", err)
		x.refused = &sendBusy
	}
}

// admitted queues an event when it is its user's turn. The send of a connection that waits is the
// only one that was read, so none needs to be refused.
func (c *session) admitted(ctx context.Context, evs []events.Event) (*eventlog.Ticket, error) {
	const size = events.EventBytes
	pass, err := c.srv.cfg.Gate.Enter(admission.Requester{App: c.app, User: c.user, Door: doorSDK, Waits: true}, size)
	if err != nil {
		return nil, err
	}
	defer pass.Release()
	if err := pass.Turn(ctx, size, size); err != nil {
		return nil, err
	}
	return c.srv.cfg.Log.Submit(ctx, evs)
}

// doorSDK is this edge, to the gate.
const doorSDK = "sdk"

// complete waits for the decisions, stores messages in inboxes, and answers. A group of sends is
// stored together, so that it waits for two syncs and not for two each.
func (c *session) complete(list []*pendingSend) {
	ctx, cancel := context.WithDeadline(context.Background(), list[len(list)-1].at.Add(c.srv.cfg.Limits.Answer))
	defer cancel()
	for _, x := range list {
		if x.refused == nil && x.ticket != nil {
			x.refused = c.decision(ctx, x)
		}
		if x.refused == nil && x.body != nil {
			x.refused = c.distribute(ctx, x)
		}
		if x.stored == nil {
			c.answer(x)
		}
	}
	for _, x := range list {
		if x.stored == nil {
			continue
		}
		if err := x.stored.Wait(ctx); err != nil {
			x.refused = c.notDistributed(x, err)
		}
		c.answer(x)
	}
}

// decision waits until the event is durable and folded.
func (c *session) decision(ctx context.Context, x *pendingSend) *refusal {
	outcomes, err := gateway.AwaitOutcomes(ctx, x.ticket, c.srv.cfg.State)
	switch {
	case errors.Is(err, projector.ErrOutcomeGone):
		return nil // durable and decided, too long ago to tell
	case err != nil:
		c.srv.cfg.Logger.Warn("sdk: an event was not stored", "kind", x.event.Kind, "error", err)
		if errors.Is(err, eventlog.ErrUnavailable) && !errors.Is(err, eventlog.ErrUnknownOutcome) {
			return &sendBusy
		}
		return &sendUnknown
	}
	told, err := gateway.VisibleOutcome(c.srv.cfg.State, c.app, x.event.Group, c.user, outcomes[0])
	switch {
	case err != nil:
		c.srv.cfg.Logger.Error("sdk: the members of a group could not be read", "error", err)
		return &sendBusy
	case told.Rejected():
		return &refusal{msyncpb.Status_FAIL, told.Reason()}
	case x.event.Kind == events.MessageRecalled && outcomes[0].First() == events.OutcomeDuplicate:
		x.body = nil // recalled before, and told so
	case x.event.Kind == events.MessageSent && outcomes[0] != events.OutcomeApplied:
		return c.again(x)
	}
	return nil
}

// again is for a message that is in the log already: the device sends it again, and whether it is
// in the inboxes it cannot know. It is put there unless it was recalled meanwhile; whoever has it
// drops it by its id.
func (c *session) again(x *pendingSend) *refusal {
	in := events.Conversation{App: c.app, Group: x.event.Group}
	if in.Group == "" {
		in = events.SingleChat(c.app, c.user, x.event.Peer)
	}
	m, err := c.srv.cfg.State.MessageIn(in, x.event.Message, c.user)
	switch {
	case errors.Is(err, projections.ErrNotFound), err == nil && m.Recalled:
		x.body = nil
	case err != nil:
		c.srv.cfg.Logger.Error("sdk: a message could not be read", "error", err)
		return &sendBusy
	}
	return nil
}

// distribute begins to put a message into the inboxes of its recipients, and into that of its
// sender for their other devices.
func (c *session) distribute(ctx context.Context, x *pendingSend) *refusal {
	to, refused := c.recipients(ctx, x)
	if refused != nil {
		return refused
	}
	domain, name := domainUser, x.event.Peer
	if x.event.Group != "" {
		domain, name = domainGroup, x.event.Group
	}
	x.body.From, x.body.To = &msyncpb.Name{Name: &c.user}, &msyncpb.Name{Name: &name}
	from := c.name(c.user, domainUser)
	from.Resource = &c.device
	data := marshal(&msyncpb.Meta{
		Id: &x.id, From: from, To: c.name(name, domain), Timestamp: proto.Uint64(uint64(x.at.UnixMilli())),
		Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), Payload: marshal(x.body),
	})
	var err error
	message := inbox.Message{App: c.app, Sender: c.user, Conversation: name, Users: to, Data: data}
	if x.stored, err = c.srv.cfg.Inbox.Append(message); err != nil {
		return c.notDistributed(x, err)
	}
	return nil
}

// notDistributed is the answer for a message that is in the log but not in all inboxes. Where the
// inboxes have no room just now it is in none of them: the sender may send it again, and the
// answers are counted instead of logged, since whoever sends too much would fill the log of
// the process.
func (c *session) notDistributed(x *pendingSend, err error) *refusal {
	switch {
	case errors.Is(err, inbox.ErrTooLarge):
		return &sendTooLarge
	case errors.Is(err, inbox.ErrOverloaded):
		return &sendBusy
	}
	c.srv.cfg.Logger.Error("sdk: a message is in the log but not in all inboxes", "message", x.id, "error", err)
	return &sendUndelivered
}

// recipients are those into whose inboxes a message goes, its sender among them.
func (c *session) recipients(ctx context.Context, x *pendingSend) ([]string, *refusal) {
	to := []string{x.event.Peer}
	if x.event.Group != "" {
		group, err := c.srv.cfg.State.Group(c.app, x.event.Group)
		switch {
		case errors.Is(err, projections.ErrNotFound), err == nil && group.Role(c.user) == events.RoleNone:
			return nil, &sendNotMember // who is not in it does not learn whether there is one
		case err != nil:
			c.srv.cfg.Logger.Error("sdk: the members of a group could not be read", "error", err)
			return nil, &sendUndelivered
		}
		to = make([]string, len(group.Members))
		for i := range group.Members {
			to[i] = group.Members[i].User
		}
	}
	to = slices.DeleteFunc(to, func(user string) bool {
		return user == c.user || x.route == msyncpb.Meta_DIRECTED && !slices.Contains(x.directed, user)
	})
	if x.route == msyncpb.Meta_ONLINE {
		to = c.srv.online(ctx, c.app, to)
	}
	return append(to, c.user), nil
}

// answer tells the client what became of a send.
func (c *session) answer(x *pendingSend) {
	status, reason := ok(), "ok"
	if x.refused != nil {
		status, reason = x.refused.status(), x.refused.reason
		if x.event.Kind == events.MessageDelivered {
			if x.refused.reason == sendBusy.reason || x.refused.reason == sendUnknown.reason {
				c.srv.metrics.lost.Inc()
			}
			status = ok()
		}
	}
	c.srv.metrics.answers.WithLabelValues(x.event.Kind.String(), answerLabel(reason)).Inc()
	_ = c.write(encode(msyncpb.Frame_SYNC, &msyncpb.SyncDown{
		Status: status, MetaId: &x.metaID, ServerId: &x.id, Timestamp: proto.Uint64(uint64(x.at.UnixMilli())),
	})) // an error has ended the session
}

// answerLabel keeps what clients wrote out of the metric: of a problem with a field it has only the
// field's name.
func answerLabel(reason string) string {
	field, _, _ := strings.Cut(reason, ":")
	return field
}

// decimal is an id as the log has it.
func decimal(id uint64) string { return strconv.FormatUint(id, 10) }
