package projections_test

import (
	"encoding/json"
	"testing"

	"github.com/receiptd/receiptd/projections"
)

// FuzzRateRound: whatever another node asks for and whatever it answers, it is refused or added,
// and a page can be made of it.
func FuzzRateRound(f *testing.F) {
	f.Add([]byte(`{"Query":{"App":"o#a","To":2,"By":1,"Limit":1},"Round":1}`), []byte(`{"Rows":[{"Key":"g","Messages":1,"Bins":[{"Bin":3,"Count":2}]}],"Visited":1}`))
	f.Add([]byte(`{"Query":{"To":7200000,"Limit":1},"Zone":"Asia/Shanghai","Round":1}`), []byte(`{"Rows":[{"Key":"x","Bins":[{"Bin":60000,"Count":2}]}]}`))
	f.Add([]byte(`{"Query":{"App":"o#a","To":2,"By":2,"Limit":1},"Round":2,"Wanted":["u"]}`), []byte(`{"Visited":-1}`))
	f.Fuzz(func(t *testing.T, asked, answered []byte) {
		var round projections.RateRound
		var share projections.RateShare
		if json.Unmarshal(asked, &round) != nil || json.Unmarshal(answered, &share) != nil {
			return
		}
		s, err := round.Scan()
		if err != nil {
			return
		}
		part, err := projections.Open(0, memory{}, projections.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for done := false; !done; {
			if done, err = s.Step(part); err != nil {
				return
			}
		}
		if err := s.Add(share); err == nil {
			if _, err := json.Marshal(s.Share()); err != nil {
				t.Errorf("%q, %q: %v", asked, answered, err)
			}
		}
	})
}
