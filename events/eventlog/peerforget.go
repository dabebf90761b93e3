package eventlog

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// forgetAgain is after what time a server is asked again to be forgotten, and forgetWait how long
// one request waits: while the servers have no leader, nobody answers.
const (
	forgetAgain = 500 * time.Millisecond
	forgetWait  = 3 * time.Second
)

// ForgetPeer takes the NATS server of a node that will not come back out of the servers' cluster:
// it no longer counts for their majority, and another server takes its place in the streams that it
// had, as soon as there is one. Its store is of no use to the cluster any more. Nothing happens if
// it was no member, or if the servers are outside: those have commands for it.
func (l *Log) ForgetPeer(ctx context.Context, node string) error {
	if l.peer == nil {
		return nil
	}
	nc, err := nats.Connect("", nats.InProcessServer(l.peer.srv), nats.UserInfo(systemUser, l.peer.password))
	if err != nil {
		return fmt.Errorf("forget the server of %s: %w", node, err)
	}
	defer nc.Close()
	// A server that was not heard of since this leader started is known by its number only.
	for _, request := range []server.JSApiMetaServerRemoveRequest{{Server: node}, {Peer: peerID(node)}} {
		err = forget(ctx, nc, request)
		if !errors.Is(err, errNoMember) {
			break
		}
	}
	if err != nil && !errors.Is(err, errNoMember) {
		return fmt.Errorf("forget the server of %s: %w", node, err)
	}
	return nil
}

// errNoMember: the servers know no such member.
var errNoMember = errors.New("the server is not a member of the cluster")

// forget asks the servers' leader until it has done so.
func forget(ctx context.Context, nc *nats.Conn, request server.JSApiMetaServerRemoveRequest) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	for {
		try, cancel := context.WithTimeout(ctx, forgetWait)
		answer, err := nc.RequestWithContext(try, server.JSApiRemoveServer, body)
		cancel()
		if err == nil {
			var said server.JSApiMetaServerRemoveResponse
			if err = json.Unmarshal(answer.Data, &said); err != nil {
				return err
			}
			switch {
			case said.Error == nil:
				return nil
			case said.Error.ErrCode == uint16(server.JSClusterServerNotMemberErr):
				return errNoMember
			}
			err = said.Error
		}
		select { // another change of the members may be under way, or there is no leader
		case <-time.After(forgetAgain):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// peerID is what the servers call one with a name: eight digits to the base of 62, of the bytes of
// its SHA-256.
func peerID(name string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := sha256.Sum256([]byte(name))
	id := make([]byte, 8)
	for i := range id {
		id[i] = digits[int(sum[i])%len(digits)]
	}
	return string(id)
}
