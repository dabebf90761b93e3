package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Error is what a server answers in place of what was asked for.
type Error struct {
	// Status is HTTP's; 0 for the end of a stream, which tells no status.
	Status int
	// Code is what to choose by; it is empty for the answer of a proxy that is none of receiptd's.
	Code Code
	// Message is for people.
	Message string
	// Field is what is wrong in the request, if it is one thing.
	Field string
	// Index is the event that is wrong, -1 if it is none: its place in the list that was sent, or,
	// of one event with several messages, the message's.
	Index int
	// RetryAfter is when it pays to come back; 0 if the server does not say.
	RetryAfter time.Duration
	// Accepted is how many events are durable although the request failed, and Positions where.
	Accepted  int
	Positions []Position
	// Conversations are those that have a message with an ambiguous id.
	Conversations []ConversationName
	// RequestID finds the request in the server's log.
	RequestID string
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("receiptd: %s (status %d)", e.Message, e.Status)
	}
	return fmt.Sprintf("receiptd: %s (%s)", e.Message, e.Code)
}

// Temporary reports whether the same request may succeed later.
func (e *Error) Temporary() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return true
	case 0: // the end of a stream
		switch e.Code {
		case CodeInvalidEvent, CodeInvalidRequest, CodeTooLarge, CodeForbidden, CodeUnauthorized, CodeAppNotFound:
			return false
		}
		return true
	}
	return e.Status >= 500
}

// maxError bounds the body of a refusal that is read.
const maxError = 1 << 20

// maxRetryAfter bounds what is believed of Retry-After, in seconds: a century.
const maxRetryAfter = 100 * 365 * 24 * 3600

// errorOf reads a refusal.
func errorOf(r *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxError)) // what is cut off is not JSON
	e := &Error{Index: -1}
	var told errorBody
	if json.Unmarshal(body, &told) == nil && told.Error.Code != "" {
		e = told.refusal()
	} else {
		e.Message = http.StatusText(r.StatusCode)
	}
	e.Status, e.RequestID = r.StatusCode, r.Header.Get("X-Request-Id")
	if after := r.Header.Get("Retry-After"); after != "" {
		if seconds, err := strconv.Atoi(after); err == nil {
			e.RetryAfter = time.Duration(min(max(seconds, 0), maxRetryAfter)) * time.Second
		} else if at, err := http.ParseTime(after); err == nil {
			e.RetryAfter = max(time.Until(at), 0)
		}
	}
	return e
}

func (b *errorBody) refusal() *Error {
	e := &Error{
		Code: b.Error.Code, Message: b.Error.Message, Field: b.Error.Field, Index: -1,
		Accepted: b.Accepted, Positions: b.Positions, Conversations: b.Error.Conversations,
	}
	if b.Error.Index != nil {
		e.Index = *b.Error.Index
	}
	return e
}

// at is the error of one event of those that were sent.
func (e *Error) at(index int) *Error {
	one := *e
	one.Index = index
	return &one
}
