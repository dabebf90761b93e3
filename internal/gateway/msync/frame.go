package msync

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/receiptd/receiptd/internal/gateway/msync/msyncpb"
)

// errMalformed is wrapped by the error for a frame that does not follow the protocol.
var errMalformed = errors.New("malformed frame")

// request is a frame of a client, decoded: exactly one of its parts is set, or none for a frame
// that needs no answer, as a client's own statistic.
type request struct {
	size    int // of the frame, in bytes
	command msyncpb.Frame_Command
	login   *login
	unread  bool
	pull    *pull
	meta    *msyncpb.Meta
}

// login is what a client says about itself in PROVISION.
type login struct {
	app, user, device string
	token             string
}

// pull asks for what follows the key in the queue; 0 means what is not acknowledged.
type pull struct {
	key uint64
}

// decode reads a frame. The error wraps errMalformed.
func decode(data []byte) (request, error) {
	var frame msyncpb.Frame
	if err := proto.Unmarshal(data, &frame); err != nil {
		return request{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	r := request{command: frame.GetCommand()}
	switch r.command {
	case msyncpb.Frame_PROVISION:
		return r, r.readLogin(&frame)
	case msyncpb.Frame_UNREAD:
		r.unread = true
	case msyncpb.Frame_SYNC:
		return r, r.readSync(frame.GetPayload())
	}
	return r, nil
}

// tokenPrefix marks a token in PROVISION.
const tokenPrefix = "$t$"

func (r *request) readLogin(frame *msyncpb.Frame) error {
	var p msyncpb.Provision
	if err := proto.Unmarshal(frame.GetPayload(), &p); err != nil {
		return fmt.Errorf("%w: provision: %w", errMalformed, err)
	}
	who := frame.GetGuid()
	r.login = &login{app: who.GetAppKey(), user: who.GetName(), device: p.GetResource(), token: frame.GetAuth()}
	if r.login.device == "" {
		r.login.device = who.GetResource()
	}
	return nil
}

func (r *request) readSync(payload []byte) error {
	var up msyncpb.SyncUp
	if err := proto.Unmarshal(payload, &up); err != nil {
		return fmt.Errorf("%w: sync: %w", errMalformed, err)
	}
	switch meta := up.GetMeta(); {
	case meta == nil:
		if up.GetQueue() == nil {
			return fmt.Errorf("%w: sync: neither a meta nor a queue", errMalformed)
		}
		r.pull = &pull{key: up.GetKey()}
	case meta.GetNs() != int32(msyncpb.Meta_STATISTIC):
		r.meta = meta
	}
	return nil
}

// encode writes a frame.
func encode(command msyncpb.Frame_Command, payload proto.Message) []byte {
	inner, err := proto.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("msync: encode: %v", err)) // text of ours that is no UTF-8
	}
	frame := &msyncpb.Frame{Command: command.Enum(), Payload: inner}
	data, err := proto.Marshal(frame)
	if err != nil {
		panic(fmt.Sprintf("msync: encode: %v", err))
	}
	return data
}
