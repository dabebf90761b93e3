package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// letters are the messages of SDK clients to one user, by their texts.
type letters struct {
	sent    []string // all of them, in their order
	waiting []string // those that no device of the user has taken
}

// lettersDevice is the only device of each user, so that what it has taken is in no inbox.
const lettersDevice = "web"

// pageLetters is how many messages the server puts on a page.
const pageLetters = 50

// letterbox is a connection that speaks the SDK's protocol frame by frame.
type letterbox struct {
	user string
	conn *websocket.Conn
	ctx  context.Context // of all that it does
}

// open logs a user of accountsApp in, and calls f with the connection.
func (s *server) open(ctx context.Context, user string, f func(*letterbox) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var answer struct{ Token string }
	if err := s.call(ctx, "POST", appPath(accountsApp)+"/users/"+user+"/tokens", struct{}{}, &answer); err != nil {
		return err
	}
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.base, "http")+"/websocket", nil)
	if err != nil {
		return fmt.Errorf("connect as %s: %w", user, err)
	}
	defer func() { _ = conn.CloseNow() }()
	b := &letterbox{user, conn, ctx}
	app, device := accountsApp, lettersDevice
	err = b.write(msyncpb.Frame_PROVISION, &msyncpb.Provision{Resource: &device, SessionId: proto.String("1:")}, func(f *msyncpb.Frame) {
		f.Auth = proto.String("$t$" + answer.Token)
		f.Guid = &msyncpb.Name{AppKey: &app, Name: &user, Domain: proto.String("easemob.com"), Resource: &device}
	})
	down := new(msyncpb.Provision)
	if err == nil {
		err = b.read(msyncpb.Frame_PROVISION, down)
	}
	if status := down.GetStatus(); err == nil && status.GetCode() != msyncpb.Status_OK {
		err = fmt.Errorf("the login is refused: %v", status)
	}
	if err == nil {
		err = f(b)
	}
	if err != nil {
		return fmt.Errorf("as %s: %w", user, err)
	}
	return nil
}

// send sends texts to another user, and waits until each is taken.
func (b *letterbox) send(to string, texts ...string) error {
	for i, text := range texts {
		number := uint64(time.Now().UnixMicro()) + uint64(i)
		name := &msyncpb.Name{Name: &to, Domain: proto.String("easemob.com")}
		body, err := proto.Marshal(&msyncpb.Body{
			Type: proto.Int32(int32(msyncpb.Body_CHAT)), From: &msyncpb.Name{Name: &b.user}, To: name,
			Contents: []*msyncpb.Body_Content{{Type: proto.Int32(0), Text: &text}},
		})
		if err == nil {
			err = b.write(msyncpb.Frame_SYNC, &msyncpb.SyncUp{Meta: &msyncpb.Meta{
				Id: &number, To: name, Ns: proto.Int32(int32(msyncpb.Meta_CHAT)), Payload: body,
			}})
		}
		down := new(msyncpb.SyncDown)
		for err == nil && down.GetMetaId() != number {
			down.Reset()
			err = b.read(msyncpb.Frame_SYNC, down)
		}
		if status := down.GetStatus(); err == nil && status.GetCode() != msyncpb.Status_OK {
			err = fmt.Errorf("it is refused: %v", status)
		}
		if err != nil {
			return fmt.Errorf("send %.20q to %s: %w", text, to, err)
		}
	}
	return nil
}

// waiting are the texts that wait for the user's device, a page of them at most. With take, they do
// not wait any more.
func (b *letterbox) waiting(take bool) (texts []string, err error) {
	unread := new(msyncpb.UnreadDown)
	if err := b.write(msyncpb.Frame_UNREAD, nil); err != nil {
		return nil, err
	}
	if err := b.read(msyncpb.Frame_UNREAD, unread); err != nil || len(unread.Unread) == 0 {
		return nil, err
	}
	queue := unread.Unread[0].Queue
	page := new(msyncpb.SyncDown)
	if err := b.write(msyncpb.Frame_SYNC, &msyncpb.SyncUp{Queue: queue}); err != nil {
		return nil, err
	}
	if err := b.read(msyncpb.Frame_SYNC, page); err != nil {
		return nil, err
	}
	for _, meta := range page.Metas {
		body := new(msyncpb.Body)
		if err := proto.Unmarshal(meta.GetPayload(), body); err != nil {
			return nil, err
		}
		for _, c := range body.Contents {
			texts = append(texts, c.GetText())
		}
	}
	if len(texts) >= pageLetters {
		return nil, fmt.Errorf("%d letters, and there may be more than a page", len(texts))
	}
	if take {
		err = b.write(msyncpb.Frame_SYNC, &msyncpb.SyncUp{Queue: queue, Key: page.NextKey})
	}
	for take && err == nil && !page.GetIsLast() {
		page.Reset()
		err = b.read(msyncpb.Frame_SYNC, page)
	}
	return texts, err
}

func (b *letterbox) write(command msyncpb.Frame_Command, payload proto.Message, fill ...func(*msyncpb.Frame)) (err error) {
	frame := &msyncpb.Frame{Command: command.Enum()}
	if payload != nil {
		if frame.Payload, err = proto.Marshal(payload); err != nil {
			return err
		}
	}
	for _, f := range fill {
		f(frame)
	}
	data, err := proto.Marshal(frame)
	if err != nil {
		return err
	}
	return b.conn.Write(b.ctx, websocket.MessageBinary, data)
}

// read reads the next frame of a command.
func (b *letterbox) read(command msyncpb.Frame_Command, into proto.Message) error {
	for {
		_, data, err := b.conn.Read(b.ctx)
		if err != nil {
			return err
		}
		var frame msyncpb.Frame
		if err := proto.Unmarshal(data, &frame); err != nil {
			return err
		}
		if frame.GetCommand() == command {
			return proto.Unmarshal(frame.GetPayload(), into)
		}
	}
}

// correspond has every user write to the next one, and then the last one take what waits for them.
func (o *oracle) correspond(ctx context.Context, s *server, each int) error {
	for i, from := range o.users {
		to := o.users[(i+1)%len(o.users)]
		x := o.letters[to]
		if x == nil {
			x = &letters{}
			o.letters[to] = x
		}
		texts := make([]string, each)
		for k := range texts {
			texts[k] = fmt.Sprintf("%s to %s, number %d: %s", from, to, len(x.sent)+k, strings.Repeat("and so on, ", 20))
		}
		if err := s.open(ctx, from, func(b *letterbox) error { return b.send(to, texts...) }); err != nil {
			return err
		}
		x.sent, x.waiting = append(x.sent, texts...), append(x.waiting, texts...)
	}
	return nil
}

// take has a user's device take what waits for it.
func (o *oracle) take(ctx context.Context, s *server, user string) error {
	return s.open(ctx, user, func(b *letterbox) error {
		got, err := b.waiting(true)
		if err == nil && !slices.Equal(got, o.letters[user].waiting) {
			err = fmt.Errorf("%d letters wait, want %d", len(got), len(o.letters[user].waiting))
		}
		o.letters[user].waiting = nil
		return err
	})
}

// inboxes checks that for every user just those letters wait that nobody has taken. With lossy,
// some may be gone, and others wait again; one that nobody sent may not.
func (o *oracle) inboxes(ctx context.Context, s *server, lossy bool) (missing int, err error) {
	for user, x := range o.letters {
		var got []string
		err := s.open(ctx, user, func(b *letterbox) (err error) {
			got, err = b.waiting(false)
			return err
		})
		if status := (*statusError)(nil); lossy && errors.As(err, &status) && status.status == http.StatusNotFound {
			continue // the app itself is lost: its letters are there, and nobody logs in
		}
		if err != nil {
			return 0, err
		}
		switch {
		case slices.Equal(got, x.waiting):
			continue
		case !lossy:
			return 0, fmt.Errorf("WRONG: for %s wait %d letters, want %d: %.60q, want %.60q", user, len(got), len(x.waiting), got, x.waiting)
		}
		for _, text := range got {
			if !slices.Contains(x.sent, text) {
				return 0, fmt.Errorf("WRONG: for %s waits what nobody sent: %.60q", user, text)
			}
		}
		for _, text := range x.waiting {
			if !slices.Contains(got, text) {
				missing++
			}
		}
	}
	return missing, nil
}
