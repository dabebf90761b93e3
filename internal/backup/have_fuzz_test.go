package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/receiptd/receiptd/events/eventlog"
)

// memory is a sink that keeps nothing: what goes there was looked at.
type memory struct{}

func (memory) put(string, []byte) error { return nil }
func (memory) begun(*Manifest) error    { return nil }
func (memory) finish(*Manifest) error   { return nil }

// FuzzHave: whatever asks for a backup says that it has, it is refused, or is sent what completes
// that: whoever has it takes all of it, and has the log to its end then.
func FuzzHave(f *testing.F) {
	p := filled(f, 10)
	must(f, p.log.Trim(testContext(f), 1, 4))
	origin := p.origin()
	entry, err := p.log.EntryAt(testContext(f), 0, 5)
	must(f, err)
	holdings, err := p.log.Holdings(testContext(f))
	must(f, err)
	// They are others in each process.
	real := []string{"LOG", Identity(p.log), "PRINT", fmt.Sprint(eventlog.Fingerprint(entry))}
	ends := map[string]uint64{}
	for _, h := range holdings {
		created, err := h.Created.MarshalText()
		must(f, err)
		if real = append(real, "CREATED_"+h.Stream, string(created)); h.Partition >= 0 {
			ends[h.Stream] = h.Last
		}
	}
	given := strings.NewReplacer(real...)
	for _, text := range []string{
		`{}`, `null`, `[]`, `{"log":"0000000000000007"}`, `{"log":"LOG","streams":null}`, `{"log":"LOG"} {}`,
		`{"log":"LOG","streams":{"RECEIPTS_0":{"block":1,"last":5,"fingerprint":PRINT}}}`,
		`{"log":"LOG","streams":{"RECEIPTS_0":{"block":1,"last":5,"fingerprint":7},"RECEIPTS_1":{"block":9,"last":2}}}`,
		`{"log":"LOG","streams":{"RECEIPTS_0":{"block":-9,"last":5,"fingerprint":PRINT}}}`,
		`{"log":"LOG","streams":{"RECEIPTS_0":{"block":9223372036854775807}}}`,
		`{"log":"LOG","streams":{"RECEIPTS_0":{"block":1,"last":18446744073709551615}}}`,
		`{"log":"LOG","streams":{"RECEIPTD_INBOX":{"created":"CREATED_RECEIPTD_INBOX","block":3,"last":20}}}`,
		`{"log":"LOG","streams":{"RECEIPTD_INBOX":{"block":3,"last":20}}}`,
		`{"streams":{"RECEIPTS_0":{"block":1,"last":5,"fingerprint":PRINT}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		have, err := ReadHave(strings.NewReader(given.Replace(string(text))))
		if err != nil {
			if have.Log != "" || have.Streams != nil {
				t.Errorf("%q: %+v beside %v", text, have, err)
			}
			return
		}
		var sent bytes.Buffer
		if err := Send(t.Context(), &sent, origin, have); err != nil {
			return
		}
		r := receiver{sink: memory{}, manifest: Manifest{Log: have.Log}}
		for name, s := range have.Streams {
			partition := -1
			_, _ = fmt.Sscanf(name, "RECEIPTS_%d", &partition)
			was := Stream{Stream: name, Partition: partition, Created: s.Created, Last: s.Last, Fingerprint: s.Fingerprint}
			if s.Block > 0 {
				was.Blocks = []Block{{Index: s.Block, First: 1, Last: s.Last}}
			}
			r.manifest.Streams = append(r.manifest.Streams, was)
		}
		if err := r.receive(t.Context(), &sent); err != nil {
			t.Fatalf("%q: what is sent is not taken: %v", text, err)
		}
		for name, end := range ends {
			if s := r.manifest.stream(name); s == nil {
				t.Errorf("%q: no stream %s", text, name)
			} else if last, _ := s.end(); last != end || s.Last != end {
				t.Errorf("%q: stream %s ends with %d, %d are said, the log has %d", text, name, last, s.Last, end)
			}
		}
		if _, err := json.Marshal(r.manifest); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
