package eventlog

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
)

// moveChunk is how much is sent at a time. A server with default settings takes so much.
const moveChunk = 256 << 10

// restoreAnswer is what a server says to a request to restore a stream, and to each part of it.
type restoreAnswer struct {
	DeliverSubject string              `json:"deliver_subject"`
	Error          *jetstream.APIError `json:"error"`
}

// send has the server restore a stream: JetStream's own way for it, which `nats stream restore`
// takes too.
func (m *Mover) send(ctx context.Context, s blockfile.Stream, meta []byte) error {
	request, err := json.Marshal(map[string]any{"config": json.RawMessage(meta), "state": map[string]any{"last_seq": m.attestations[s.Name].Last}})
	if err != nil {
		return err
	}
	// A server that is not there to take it any more does not answer.
	began, err := m.ask(ctx, lookTimeout, "$JS.API.STREAM.RESTORE."+s.Name, request)
	if err != nil {
		return err
	}
	if began.DeliverSubject == "" {
		return errors.New("the server does not say where to send it")
	}
	out, in := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		w := s2.NewWriter(in)
		err := s.Pack(w)
		if err == nil {
			err = w.Close()
		}
		in.CloseWithError(err)
		packed <- err
	}()
	defer func() {
		out.Close()
		<-packed
	}()
	var of int64
	for chunk := make([]byte, moveChunk); ; {
		n, err := io.ReadFull(out, chunk)
		if n > 0 {
			if _, err := m.ask(ctx, m.partLimit(), began.DeliverSubject, chunk[:n]); err != nil {
				return err
			}
			of += int64(n)
			m.tell(of)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errSource, err)
		}
	}
	whole := m.partLimit() + time.Duration(of/endRate)*time.Second
	_, err = m.ask(ctx, whole, began.DeliverSubject, nil)
	return err
}

const (
	// partTimeout is how long a server is waited for that writes a part to its disk. One that has
	// died meanwhile never answers.
	partTimeout = 20 * time.Second
	// endRate is how many bytes a second a server reads, at least, of what it has been sent, before
	// it says that it has the stream.
	endRate = 10 << 20
)

func (m *Mover) partLimit() time.Duration {
	return cmp.Or(m.partAfter, partTimeout)
}

// ask sends a request, whose answer is waited for up to a limit. A refusal is an error.
func (m *Mover) ask(ctx context.Context, limit time.Duration, subject string, data []byte) (answer restoreAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	reply, err := m.Conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return answer, err
	}
	return parseRestoreAnswer(reply.Data)
}

// parseRestoreAnswer reads an answer. One that is empty says that a part was taken.
func parseRestoreAnswer(text []byte) (answer restoreAnswer, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return answer, nil
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return restoreAnswer{}, err
	}
	if answer.Error != nil {
		return restoreAnswer{}, answer.Error
	}
	if to := answer.DeliverSubject; to != "" && !server.IsValidPublishSubject(to) {
		return restoreAnswer{}, fmt.Errorf("the server says to send it to %q, which is no subject", to)
	}
	return answer, nil
}
