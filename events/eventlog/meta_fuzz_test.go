package eventlog

import (
	"encoding/json"
	"math/bits"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

// FuzzGreeting: whatever another server says first, it has the name and the id that are in there,
// or says nothing of itself.
func FuzzGreeting(f *testing.F) {
	for _, line := range []string{
		"INFO {\"server_id\":\"N\",\"server_name\":\"a\"}\r\n", "INFO {}\n", "INFO null\n", "INFO \n", "-ERR 'x'\n", "", "INFO {\"server_name\":7}\n", "HTTP/1.1 400 Bad Request\r\n",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		name, id := greeted(line)
		if name == "" && id == "" {
			return
		}
		again, err := json.Marshal(map[string]string{"server_name": name, "server_id": id})
		if err != nil {
			t.Fatal(err)
		}
		if gotName, gotID := greeted(append([]byte("INFO "), again...)); gotName != name || gotID != id || string(line[:5]) != "INFO " {
			t.Errorf("%q: %q, %q, and again %q, %q", line, name, id, gotName, gotID)
		}
	})
}

// FuzzMendedMeta: whatever lies there as the configuration of a stream and as its checksum, what
// is made of it has one bit changed, and the checksum then fits, or nothing is changed, and it is
// what the server writes of the stream that the witness knows.
func FuzzMendedMeta(f *testing.F) {
	created := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	written, err := json.Marshal(server.FileStreamInfo{Created: created, StreamConfig: server.StreamConfig{Name: "RECEIPTS_0", Subjects: []string{"receipts.v1.0.>"}, Storage: server.FileStorage}})
	if err != nil {
		f.Fatal(err)
	}
	sum := blockfile.MetaSum("RECEIPTS_0", written)
	f.Add(written, []byte("of the settings before"), 0)
	f.Add(written, []byte{}, 0)
	f.Add(written, sum, 77)
	f.Add([]byte(" "+string(written)), []byte{}, 0)
	f.Add([]byte(`{"name":"RECEIPTS_0"}`), []byte{}, 0)
	f.Fuzz(func(t *testing.T, text, sum []byte, flip int) {
		if len(text) > 2<<10 { // each bit is tried
			return
		}
		text = append([]byte(nil), text...)
		if flip = max(flip, 0); flip > 0 && flip/8 < len(text) {
			text[flip/8] ^= 1 << (flip % 8)
		}
		s := blockfile.Stream{Dir: t.TempDir(), Name: "RECEIPTS_0"}
		for name, content := range map[string][]byte{server.JetStreamMetaFile: text, server.JetStreamMetaFileSum: sum} {
			if err := os.WriteFile(filepath.Join(s.Dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		mended, err := mendedMeta(&s, witness.Attestation{Stream: s.Name, Created: created, Last: 7})
		if err != nil || mended == nil {
			return
		}
		changed := 0
		for i := range text {
			changed += bits.OnesCount8(text[i] ^ mended[i])
		}
		fits := string(blockfile.MetaSum(s.Name, mended)) == string(sum)
		var meta server.FileStreamInfo
		switch err := json.Unmarshal(mended, &meta); {
		case len(mended) != len(text) || changed > 1 || (changed == 1) != fits:
			t.Errorf("%q, sum %q: mended to %q, which fits: %v", text, sum, mended, fits)
		case changed == 0 && (err != nil || meta.Name != s.Name || !meta.Created.Equal(created)):
			t.Errorf("%q is taken for the configuration of the stream: %+v, %v", text, meta, err)
		}
	})
}
