package eventlog

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
)

// FuzzJudge: whatever the server answers to a try, an entry is only stored where the answer has its
// sequence and no error, and there is a reason for everything else; only what says so means that
// the log is full.
func FuzzJudge(f *testing.F) {
	for _, text := range []string{
		`{"stream":"RECEIPTS_0","seq":7}`, `{"seq":0}`, `{"seq":-1}`, `{`, ``, `null`, `{"error":{},"seq":7}`,
		`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`,
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 7"},"seq":7}`,
		`{"error":{"code":429}}`, `{"error":null,"seq":18446744073709551615}`,
	} {
		f.Add([]byte(text), "")
	}
	f.Add([]byte(nil), "503")
	f.Fuzz(func(t *testing.T, data []byte, status string) {
		m := nats.NewMsg("answer")
		m.Data = data
		m.Header.Set("Status", status)
		a := judge(m)
		switch {
		case a.verdict == stored:
			if a.sequence == 0 || a.err != nil {
				t.Errorf("%q: %+v", data, a)
			}
		case a.verdict < stored || a.verdict > unknown:
			t.Errorf("%q: verdict %d", data, a.verdict)
		case a.err == nil || a.sequence != 0:
			t.Errorf("%q: %+v", data, a)
		case (a.verdict == refused) != (errors.Is(a.err, ErrLogFull) || errors.Is(a.err, ErrUnavailable)):
			t.Errorf("%q: verdict %d, %v", data, a.verdict, a.err)
		}
	})
}
