package eventlog

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// FuzzRestoreAnswer: whatever a server answers to a restore, it is refused with a reason, or says
// where the log is to be sent, which is a place that one can send to, or that a part was taken.
func FuzzRestoreAnswer(f *testing.F) {
	for _, text := range []string{
		``, ` `, `{}`, `null`, `[]`, `{`, `{"deliver_subject":"$JS.SNAPSHOT.RESTORE.x.y"}`, `{"deliver_subject":"a b"}`, `{"deliver_subject":"a.>"}`,
		`{"deliver_subject":"a\r\nPUB x 0"}`, `{"deliver_subject":7}`, `{"error":{"code":400,"err_code":10130,"description":"taken"},"deliver_subject":"x"}`,
		`{"error":{}}`, `{"error":null,"deliver_subject":"x"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		answer, err := parseRestoreAnswer(text)
		to := answer.DeliverSubject
		if err != nil && (to != "" || err.Error() == "") {
			t.Errorf("%q: %q and %v", text, to, err)
		}
		for token := range strings.SplitSeq(to, ".") {
			if to != "" && (token == "" || token == "*" || token == ">" || strings.ContainsAny(token, " \t\r\n\f")) {
				t.Errorf("%q: it is sent to %q", text, to)
			}
		}
	})
}

// FuzzMovedStream: whatever a server says of a stream that was brought in, it is the one that it
// should be only if its backup, its end and what is in it are; replicas that are said to be there
// count once; and the log is there once its own stream says so.
func FuzzMovedStream(f *testing.F) {
	const whole = `{"config":{"metadata":{"receiptd.restoring":"b"}},"state":{"messages":6,"first_seq":5,"last_seq":10},"cluster":{"replicas":[{"name":"a","current":true},{"name":"b","current":true}]}}`
	for _, text := range []string{
		whole, `{}`, `null`, `{"config":{"metadata":null}}`, `{"cluster":{"replicas":[null,null]}}`, `{"cluster":{}}`, `{"cluster":null}`,
		`{"config":{"metadata":{"receiptd.restoring":"c"}}}`, `{"config":{"metadata":{"receiptd.restoring":"b"}},"state":{"messages":7,"first_seq":5,"last_seq":10}}`,
		`{"config":{"metadata":{"receiptd.restored":"x"}},"cluster":{"replicas":[{"lag":18446744073709551615,"current":true},{"offline":true,"current":true}]}}`,
	} {
		f.Add([]byte(text), uint64(5))
	}
	f.Add([]byte(whole), uint64(0))
	name := streamName(0)
	f.Fuzz(func(t *testing.T, text []byte, first uint64) {
		var info jetstream.StreamInfo
		if json.Unmarshal(text, &info) != nil {
			return // as the client does
		}
		m := &Mover{Backup: "b", Replicas: 3, attestations: witness.Attestations{name: {Last: 10}}}
		first = min(first, 11)
		is := info.Config.Metadata[metaRestoring] == "b" && info.State.LastSeq == 10 &&
			(first == 0 && info.State.Msgs == 0 || first > 0 && info.State.Msgs == 11-first && (first == 11 || info.State.FirstSeq == first))
		if err := m.lacks(name, &info, first); (err == nil) != is || err != nil && !errors.Is(err, errWreck) {
			t.Errorf("%q from %d on: %v", text, first, err)
		}
		if n, _ := m.behind(info.Cluster); info.Cluster != nil && n < 2-len(info.Cluster.Replicas) || n > 2 {
			t.Errorf("%q: %d are behind", text, n)
		}
		before := info.Config.Metadata[metaRestoring]
		if c := m.whole(info.Config); c.Metadata[metaRestored] != "b" || c.Metadata[metaRestoring] != "" || info.Config.Metadata[metaRestoring] != before {
			t.Errorf("%q: %v", text, c.Metadata)
		}
	})
}
