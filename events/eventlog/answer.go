package eventlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// verdict is what became of one try to store an entry.
type verdict int

const (
	// stored: the entry is in the log, by this try or an earlier one.
	stored verdict = iota
	// refused: this try stored nothing, and another one would not either.
	refused
	// retryable: this try stored nothing; another one may.
	retryable
	// overtaken: this try stored nothing, since the log is not at the expected sequence.
	overtaken
	// unknown: the try may or may not have stored the entry.
	unknown
	// undecidable: an earlier try may have stored the entry, and nobody can find out any more.
	undecidable
)

// answer is the verdict on a try, with the sequence of a stored entry or the error of another one.
type answer struct {
	verdict  verdict
	sequence uint64
	err      error
}

// Error codes of JetStream, for which the client library has no names.
const (
	codeAccountResources    = 10002
	codeServerResources     = 10023
	codeStorageResources    = 10047
	codeWrongLastSequence   = 10071
	codeStoreFailed         = 10077
	codeIDInProcess         = 10158
	codeWrongLastReplicated = 10164
)

// judge reads the answer of the server to a try.
func judge(m *nats.Msg) answer {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return answer{verdict: retryable, err: nats.ErrNoResponders}
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return answer{verdict: unknown, err: fmt.Errorf("acknowledgement: %w", err)}
	}
	if ack.Error == nil {
		if ack.Sequence == 0 {
			return answer{verdict: unknown, err: errors.New("acknowledgement without a sequence")}
		}
		return answer{verdict: stored, sequence: ack.Sequence}
	}
	err := ack.Error
	switch err.ErrorCode {
	case codeAccountResources, codeServerResources, codeStorageResources:
		return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrLogFull, err)}
	case codeWrongLastSequence, codeWrongLastReplicated:
		return answer{verdict: overtaken, err: err}
	case codeStoreFailed:
		// If storing fails for any other reason, nats-server does not answer at all.
		if strings.HasPrefix(err.Description, "maximum ") {
			return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrLogFull, err)}
		}
		return answer{verdict: retryable, err: err}
	case codeIDInProcess:
		return answer{verdict: unknown, err: err} // an earlier try is under way
	}
	if err.Code == 429 || err.Code >= 500 {
		return answer{verdict: retryable, err: err}
	}
	return answer{verdict: refused, err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
}
