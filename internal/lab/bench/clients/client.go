package clients

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

const (
	userDomain  = "easemob.com"
	groupDomain = "conference.easemob.com"

	writeTime = 10 * time.Second
	readLimit = 8 << 20
)

// client is a logged-in connection. It acknowledges each page, as the SDK does.
type client struct {
	user string
	conn *websocket.Conn
	// nextID begins with the time, as in the SDK: what is sent again with a number is the same
	// message to the server.
	nextID atomic.Uint64
	// Called by the reading goroutine, and set before run: for a text of somebody else, a
	// receipt, the refusal of a send.
	onText    func(c *client, id uint64, body *msyncpb.Body)
	onReceipt func(body *msyncpb.Body)
	onRefusal func(reason string)
	// onTaken, if set, is called for a send that was taken.
	onTaken func()
}

// dial logs in. Nothing is read before run.
func dial(ctx context.Context, url, app, user, token string) (*client, error) {
	return dialAs(ctx, url, app, user, token, "bench")
}

// dialAs is dial with the name of a device.
func dialAs(ctx context.Context, url, app, user, token, name string) (*client, error) {
	conn, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn.SetReadLimit(readLimit)
	c := &client{user: user, conn: conn}
	c.nextID.Store(uint64(time.Now().UnixMicro()))
	device := &name
	err = c.write(ctx, msyncpb.Frame_PROVISION, &msyncpb.Provision{Resource: device, SessionId: proto.String("1:")}, func(f *msyncpb.Frame) {
		f.Auth = proto.String("$t$" + token)
		f.Guid = &msyncpb.Name{AppKey: &app, Name: &user, Domain: proto.String(userDomain), Resource: device}
	})
	if err != nil {
		return nil, c.lost(err)
	}
	_, data, err := conn.Read(ctx)
	if err != nil {
		return nil, c.lost(fmt.Errorf("login: %w", err))
	}
	var frame msyncpb.Frame
	var answer msyncpb.Provision
	if proto.Unmarshal(data, &frame) != nil || proto.Unmarshal(frame.GetPayload(), &answer) != nil {
		return nil, c.lost(fmt.Errorf("login: the answer is malformed"))
	}
	if s := answer.GetStatus(); s.GetCode() != msyncpb.Status_OK {
		return nil, c.lost(fmt.Errorf("login refused: %s", s.GetReason()))
	}
	return c, nil
}

// lost closes the connection after an error and returns that error.
func (c *client) lost(err error) error {
	_ = c.conn.CloseNow()
	return err
}

// run asks for unread messages and handles what arrives until the connection ends. It returns nil
// if the context ended it.
func (c *client) run(ctx context.Context) error {
	defer c.conn.CloseNow()
	if err := c.write(ctx, msyncpb.Frame_UNREAD, nil); err != nil {
		return err
	}
	for {
		_, data, err := c.conn.Read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("connection of %s: %w", c.user, err)
		}
		var frame msyncpb.Frame
		if err := proto.Unmarshal(data, &frame); err != nil {
			return fmt.Errorf("frame for %s: %w", c.user, err)
		}
		if frame.GetCommand() == msyncpb.Frame_UNREAD {
			err = c.pull(ctx, frame.GetPayload())
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if frame.GetCommand() != msyncpb.Frame_SYNC {
			continue
		}
		if err := c.take(ctx, frame.GetPayload()); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// pull asks for what is unread, if anything is.
func (c *client) pull(ctx context.Context, payload []byte) error {
	var answer msyncpb.UnreadDown
	if err := proto.Unmarshal(payload, &answer); err != nil {
		return fmt.Errorf("frame for %s: %w", c.user, err)
	}
	if len(answer.Unread) == 0 {
		return nil
	}
	return c.write(ctx, msyncpb.Frame_SYNC, &msyncpb.SyncUp{Queue: answer.Unread[0].Queue})
}

// take handles an answer or a page.
func (c *client) take(ctx context.Context, payload []byte) error {
	now := new(msyncpb.SyncDown)
	if err := proto.Unmarshal(payload, now); err != nil {
		return fmt.Errorf("frame for %s: %w", c.user, err)
	}
	if now.GetMetaId() != 0 {
		if s := now.GetStatus(); s.GetCode() != msyncpb.Status_OK {
			c.onRefusal(s.GetReason())
		} else if c.onTaken != nil {
			c.onTaken()
		}
		return nil
	}
	for _, meta := range now.Metas {
		body := new(msyncpb.Body)
		if meta.GetNs() != int32(msyncpb.Meta_CHAT) || proto.Unmarshal(meta.GetPayload(), body) != nil {
			continue
		}
		switch msyncpb.Body_Type(body.GetType()) {
		case msyncpb.Body_CHAT, msyncpb.Body_GROUPCHAT:
			c.onText(c, meta.GetId(), body)
		default:
			c.onReceipt(body)
		}
	}
	if now.GetIsLast() {
		return nil
	}
	return c.write(ctx, msyncpb.Frame_SYNC, &msyncpb.SyncUp{Queue: now.Queue, Key: now.NextKey})
}

// text sends a message of some fifty bytes.
func (c *client) text(ctx context.Context, to string, group bool) error {
	body := &msyncpb.Body{
		Type:     proto.Int32(int32(msyncpb.Body_CHAT)),
		Contents: []*msyncpb.Body_Content{{Type: proto.Int32(0), Text: proto.String("a message of some fifty bytes, as people write them")}},
	}
	if group {
		body.Type, body.Config = proto.Int32(int32(msyncpb.Body_GROUPCHAT)), &msyncpb.Body_Config{AllowGroupAck: proto.Bool(true)}
	}
	return c.send(ctx, to, group, body)
}

// receipt says that a message was delivered or read.
func (c *client) receipt(ctx context.Context, kind msyncpb.Body_Type, to string, group bool, message uint64) error {
	return c.send(ctx, to, group, &msyncpb.Body{
		Type: proto.Int32(int32(kind)), AckMessageId: &message, Contents: []*msyncpb.Body_Content{{}},
	})
}

func (c *client) send(ctx context.Context, to string, group bool, body *msyncpb.Body) error {
	domain := userDomain
	if group {
		domain = groupDomain
	}
	body.From, body.To = &msyncpb.Name{Name: &c.user}, &msyncpb.Name{Name: &to}
	payload, err := proto.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	return c.write(ctx, msyncpb.Frame_SYNC, &msyncpb.SyncUp{Meta: &msyncpb.Meta{
		Id: proto.Uint64(c.nextID.Add(1)), To: &msyncpb.Name{Name: &to, Domain: &domain}, Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), Payload: payload,
	}})
}

func (c *client) write(ctx context.Context, command msyncpb.Frame_Command, payload proto.Message, fill ...func(*msyncpb.Frame)) error {
	frame := &msyncpb.Frame{Command: command.Enum()}
	var err error
	if payload != nil {
		if frame.Payload, err = proto.Marshal(payload); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
	}
	for _, f := range fill {
		f(frame)
	}
	data, err := proto.Marshal(frame)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageBinary, data); err != nil {
		return fmt.Errorf("write for %s: %w", c.user, err)
	}
	return nil
}
