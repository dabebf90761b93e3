package clients

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

const (
	floodMembers = 4990
	floodBody    = 60 << 10
)

// request sends one of a flood.
func (f *flooder) request(ctx context.Context, method, path, token, body string) {
	rq, err := http.NewRequestWithContext(ctx, method, f.order.Server+path, strings.NewReader(body))
	if err != nil {
		return
	}
	rq.Header.Set("Content-Type", "application/json")
	if token != "" {
		rq.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := f.client.Do(rq)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	switch {
	case ctx.Err() != nil:
		return // the flood is over
	case err != nil:
		f.refuse(err.Error())
	case res.StatusCode == http.StatusOK:
		f.answered.Add(1)
	default:
		f.refuse(res.Status)
	}
}

func (f *flooder) refuse(reason string) {
	f.refused.Add(1)
	f.reason.Store(&reason)
}

func (f *flooder) calls(ctx context.Context, _ int) {
	for ctx.Err() == nil {
		f.request(ctx, "GET", f.order.App+"/users/mallory/joined_chatgroups", f.order.Token, "")
	}
}

func (f *flooder) logins(ctx context.Context, i int) {
	for n := 0; ctx.Err() == nil; n++ {
		f.request(ctx, "POST", f.order.App+"/token", "", fmt.Sprintf(`{"grant_type":"password","username":"u%d-%d","password":"guess"}`, i, n))
	}
}

func (f *flooder) groups(ctx context.Context, _ int) {
	names := strings.Builder{}
	for i := range floodMembers {
		fmt.Fprintf(&names, `,"invented%d"`, i)
	}
	for ctx.Err() == nil {
		f.request(ctx, "POST", f.order.App+"/chatgroups", f.order.Token, `{"owner":"mallory","groupname":"x","members":[`+names.String()[1:]+`]}`)
	}
}

// messages writes large messages to the crowd, as mallory on several devices.
func (f *flooder) messages(ctx context.Context, i int) {
	c, err := dialAs(ctx, f.socket, appKey(f.order.App), "mallory", f.order.Token, fmt.Sprint("device", i))
	if err != nil {
		f.refuse(err.Error())
		return
	}
	c.onText, c.onReceipt = func(*client, uint64, *msyncpb.Body) {}, func(*msyncpb.Body) {}
	c.onRefusal, c.onTaken = f.refuse, func() { f.answered.Add(1) }
	go func() { _ = c.run(ctx) }() // ends with the context
	body := &msyncpb.Body{
		Type:     proto.Int32(int32(msyncpb.Body_GROUPCHAT)),
		Contents: []*msyncpb.Body_Content{{Type: proto.Int32(0), Text: proto.String(strings.Repeat("x", floodBody))}},
	}
	for ctx.Err() == nil {
		if c.send(ctx, "crowd", true, body) != nil {
			return
		}
	}
}

// sockets opens connections that say nothing, and opens them again when they are closed.
func (f *flooder) sockets(ctx context.Context, _ int) {
	var open []*websocket.Conn
	defer func() {
		for _, c := range open {
			_ = c.CloseNow()
		}
	}()
	for ctx.Err() == nil {
		if len(open) >= f.order.Sockets/f.order.Flooders {
			_ = sleep(ctx, 10*time.Millisecond)
			continue
		}
		c, _, err := websocket.Dial(ctx, f.socket, &websocket.DialOptions{HTTPClient: &f.client})
		switch {
		case ctx.Err() != nil && err != nil: // the flood is over
		case err != nil:
			f.refuse(err.Error())
			_ = sleep(ctx, time.Millisecond)
		default:
			f.answered.Add(1)
			open = append(open, c)
		}
	}
}
