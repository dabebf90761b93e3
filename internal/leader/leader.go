// Package leader reads single messages of a stream from the stream's leader. A client's own way,
// the direct get, may be answered by a replica that lags: it says that there is nothing where an
// acknowledged message is.
package leader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNotFound: the stream has no such message.
var ErrNotFound = errors.New("leader: no such message")

// JetStream's error codes for a message that is not there, and for a server that cannot tell: it
// has just started, say.
const (
	codeNotFound    = 10037
	codeUnavailable = 10008
)

// errUnavailable: nobody can tell for now.
var errUnavailable = errors.New("nobody answers for the stream for now")

// Message is a message as a stream holds it.
type Message struct {
	Subject  string
	Sequence uint64
	Time     time.Time
	Header   nats.Header // nil if there is none
	Data     []byte
}

// At returns the message with a sequence, which is not 0. The error is [ErrNotFound] if there is
// none.
func At(ctx context.Context, nc *nats.Conn, stream string, sequence uint64) (Message, error) {
	return get(ctx, nc, stream, request{Sequence: sequence})
}

// Last returns the last message of a subject. The error is [ErrNotFound] if there is none.
func Last(ctx context.Context, nc *nats.Conn, stream, subject string) (Message, error) {
	return get(ctx, nc, stream, request{LastBySubject: subject})
}

// Next returns the first message from a sequence on whose subject matches, which may have
// wildcards. The error is [ErrNotFound] if there is none.
func Next(ctx context.Context, nc *nats.Conn, stream string, from uint64, subject string) (Message, error) {
	return get(ctx, nc, stream, request{Sequence: max(from, 1), NextBySubject: subject})
}

// request is the body of JetStream's request STREAM.MSG.GET, which only the leader answers.
type request struct {
	Sequence      uint64 `json:"seq,omitempty"`
	LastBySubject string `json:"last_by_subj,omitempty"`
	NextBySubject string `json:"next_by_subj,omitempty"`
}

const (
	// askEvery is how long one request waits: while a stream has no leader, nobody answers, and
	// what was asked then is never answered.
	askEvery = time.Second
	// askAgain is after what time a server is asked again that could not tell.
	askAgain = 50 * time.Millisecond
)

// get asks until there is an answer that says something, or ctx ends.
func get(ctx context.Context, nc *nats.Conn, stream string, q request) (m Message, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return m, fmt.Errorf("leader: %w", err)
	}
	for {
		m, err = ask(ctx, nc, "$JS.API.STREAM.MSG.GET."+stream, body)
		switch {
		case err == nil || errors.Is(err, ErrNotFound):
			return m, err
		case !errors.Is(err, errUnavailable):
			return m, fmt.Errorf("leader: read stream %s: %w", stream, err)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return m, fmt.Errorf("leader: read stream %s: %w: %w", stream, context.Cause(ctx), err)
		}
	}
}

// ask sends a request once. The error is errUnavailable if there is no answer.
func ask(ctx context.Context, nc *nats.Conn, subject string, body []byte) (Message, error) {
	try, cancel := context.WithTimeout(ctx, askEvery)
	defer cancel()
	answer, err := nc.RequestWithContext(try, subject, body)
	switch {
	case err == nil:
		return decode(answer.Data)
	case try.Err() != nil && ctx.Err() == nil:
		return Message{}, errUnavailable
	}
	return Message{}, err
}

// decode reads the answer to a request.
func decode(text []byte) (m Message, err error) {
	var got struct {
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		return m, err
	}
	x := &got.Message
	switch {
	case got.Error != nil && got.Error.Code == codeNotFound:
		return m, ErrNotFound
	case got.Error != nil && got.Error.Code == codeUnavailable:
		return m, errUnavailable
	case got.Error != nil:
		return m, fmt.Errorf("%s (%d)", got.Error.Description, got.Error.Code)
	case x.Subject == "" || x.Sequence == 0:
		return m, errors.New("an answer without a message")
	}
	var header nats.Header
	if len(x.Header) > 0 {
		if header, err = nats.DecodeHeadersMsg(x.Header); err != nil {
			return m, fmt.Errorf("headers: %w", err)
		}
	}
	return Message{Subject: x.Subject, Sequence: x.Sequence, Time: x.Time, Header: header, Data: x.Data}, nil
}
