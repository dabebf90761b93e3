package leader

import (
	"encoding/json"
	"testing"
)

// FuzzLeaderAnswer: whatever a server answers to the question for a message, it is an error, or a
// message that the stream can have.
func FuzzLeaderAnswer(f *testing.F) {
	f.Add([]byte(`{"message":{"subject":"a.b","seq":7,"data":"eA==","time":"2026-03-01T12:00:00Z","hdrs":"TkFUUy8xLjANCkE6IGINCg0K"}}`))
	f.Add([]byte(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`))
	f.Add([]byte(`{"message":{"hdrs":"TkFUUy8xLjA="}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decode(text)
		if err != nil {
			if m.Subject != "" || m.Sequence != 0 || m.Data != nil {
				t.Errorf("%q: %+v beside %v", text, m, err)
			}
			return
		}
		if m.Subject == "" || m.Sequence == 0 || len(m.Data) > len(text) {
			t.Errorf("%q: %+v", text, m)
		}
		if !json.Valid(text) {
			t.Errorf("%q is no JSON", text)
		}
	})
}
