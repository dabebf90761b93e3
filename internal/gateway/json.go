package gateway

import (
	"encoding/json"
	"net/http"

	"github.com/receiptd/receiptd/events"
)

// WriteJSON answers with a value that always encodes: one that cannot be JSON is a defect, and
// panics. Answers are not cached.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body := mustJSON(v)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // an error means that the client is gone
}

func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of ours that cannot be JSON
	}
	return body
}

// Timestamp is a time in Unix milliseconds, written as RFC 3339 with milliseconds; 0 is null.
type Timestamp int64

// MarshalJSON writes the time as the API shows it.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	return append(events.AppendTime([]byte{'"'}, int64(t)), '"'), nil
}
