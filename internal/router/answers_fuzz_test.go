package router

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/internal/cluster"
	"github.com/receiptd/receiptd/projections"
)

func decoded[R any](x *cluster.Answer) (any, error) { return decode[R](x) }

// results are the answers to all questions, as they are read.
var results = []func(*cluster.Answer) (any, error){
	decoded[projections.Message], decoded[[]events.Conversation], decoded[projections.Found], decoded[projections.ReaderPage],
	decoded[projections.NonReaderPage], decoded[map[string]projections.Counts], decoded[[]projections.Rejection], decoded[bool],
	decoded[projections.MemberPage], decoded[projections.Group], decoded[projections.UnreadPage], decoded[projections.MessagePage],
	decoded[projections.ReadPage], decoded[projections.UserMessagePage], decoded[projections.PositionPage], decoded[projections.UserSettings],
	decoded[partSummary], decoded[configuredAs], decoded[map[string]uint64], decoded[projections.PartAlerts],
	decoded[[]projections.ConversationView], decoded[[]events.Outcome], decoded[projections.RateShare], decoded[struct{}],
}

// FuzzResult: whatever another node answers to a question, it is an error or something of which
// the same is said again; a problem of its is never taken for a result.
func FuzzResult(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"Result":null}`, `{"Result":{}}`, `{"Result":[]}`, `{"Result":[null]}`, `{"Result":true}`, `{"Result":{"a":7}}`, `{"Result":{"Message":{"ID":"m"},"Readers":[{"User":"u"}]}}`,
		`{"Problem":{"Code":"ambiguous"},"Result":{}}`, `{"Problem":{"Code":"ambiguous","Details":{"In":[null]}}}`, `{"Problem":{"Code":"x","Text":""}}`, `{"Problem":{},"Result":true}`,
		`{"Problem":{"Code":"trimmed","Text":"gone"}}`, `{"Problem":{"Code":"not_found"}}`,
	} {
		for which := range results {
			f.Add(uint8(which), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		var x cluster.Answer
		if json.Unmarshal(text, &x) != nil {
			return // nobody answers: see FuzzAnswers
		}
		read := results[int(which)%len(results)]
		result, err := read(&x)
		switch {
		case err != nil && err.Error() == "" && x.Problem.Text != "":
			t.Errorf("%q: the error says nothing", text)
		case err == nil && x.Problem != nil:
			t.Errorf("%q: %+v is no problem", text, result)
		}
		if err != nil {
			return
		}
		said, err := json.Marshal(result)
		if err != nil {
			t.Fatalf("%q: %T: %v", text, result, err)
		}
		again, err := read(&cluster.Answer{Result: said})
		if err != nil {
			t.Fatalf("%q: %T is said as %s: %v", text, result, said, err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(twice, said) {
			t.Errorf("%q: %s is said as %s, %v", text, said, twice, err)
		}
	})
}
