package merkle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/receiptd/receiptd/events"
)

// ErrEvidence is returned for a file that proves nothing with this key.
var ErrEvidence = errors.New("merkle: this is no evidence")

// evidenceFormat begins every file of evidence.
const evidenceFormat = "receiptd evidence 1"

// Evidence is what shows a third party, without the log, that an event is in it. As JSON, in
// exactly the form of [Evidence.Encode], it is a file.
//
// With Data it proves that the entry which the head binds has the event, and it discloses all
// events of that entry. Without, with DataHash and Statement, it discloses that one event: the head
// then binds the entry, and that the event is in it is what the key's owner signed. Whoever has the
// entry can refute a statement that is wrong.
type Evidence struct {
	Format string `json:"format"`
	// App and Event are what is shown; the event is as the API has it.
	App   string          `json:"app"`
	Event json.RawMessage `json:"event"`
	// Sequence, Time, Subject and MsgID name the entry, Index the event in it.
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Subject  string    `json:"subject"`
	MsgID    string    `json:"msg_id,omitempty"`
	Index    int       `json:"index"`
	// Data is the entry's content.
	Data []byte `json:"data,omitempty"`
	// DataHash and Statement stand for Data where that is not disclosed.
	DataHash  Hash   `json:"data_hash,omitzero"`
	Statement string `json:"statement,omitempty"`
	// Path leads from the entry to the head in Checkpoint.
	Path       []Hash `json:"path"`
	Checkpoint string `json:"checkpoint"`
}

// NewEvidence makes evidence of an event that has an index in an entry, which is proven to be under
// a signed head. A signer that is not nil has it disclose no other event: see [Evidence].
func NewEvidence(entry Stored, event *events.Event, index int, proof Inclusion, o Origin, signer note.Signer) (*Evidence, error) {
	e := &Evidence{
		Format: evidenceFormat, App: event.App, Event: events.AppendJSON(nil, event), Sequence: entry.Sequence, Time: entry.Time.UTC(),
		Subject: entry.Subject, MsgID: entry.MsgID, Index: index, Data: entry.Data, Path: proof.Path, Checkpoint: proof.Checkpoint,
	}
	if e.Path == nil { // of a tree of one entry
		e.Path = []Hash{}
	}
	if signer == nil {
		return e, nil
	}
	e.Data, e.DataHash = nil, dataHash(entry.Data)
	var err error
	e.Statement, err = sign(signer, e.statement(o))
	return e, err
}

// statement is what is signed about an event whose entry is not disclosed. Its first line is not
// one of a checkpoint.
func (e *Evidence) statement(o Origin) string {
	return fmt.Sprintf("receiptd statement\n%s\n%s\n%d\n%s\n%s\n", o, e.leaf(), e.Index, e.App, e.Event)
}

func (e *Evidence) leaf() Hash {
	entry := Stored{Sequence: e.Sequence, Time: e.Time, Subject: e.Subject, MsgID: e.MsgID, Data: e.Data}
	if e.Statement != "" || e.DataHash != (Hash{}) {
		return entry.leaf(e.DataHash)
	}
	return entry.Leaf()
}

// Encode is the file.
func (e *Evidence) Encode() ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	w.SetIndent("", "  ")
	if err := w.Encode(e); err != nil {
		return nil, fmt.Errorf("merkle: encode evidence: %w", err)
	}
	return b.Bytes(), nil
}

// Proven is what evidence proves.
type Proven struct {
	Event events.Event
	// Origin names the log and the partition, Head is the head that binds the entry.
	Origin Origin
	Head   Head
	// Sequence and Time say where the entry is, and when the broker stored it.
	Sequence uint64
	Time     time.Time
	// Stated reports that the event is in the entry by the word of the key's owner: see [Evidence].
	Stated bool
}

// CheckEvidence returns what a file proves, if the key signed its head. It needs nothing else, and
// refuses every other form of the file than the one it was made in. The error is [ErrEvidence].
func CheckEvidence(file []byte, key note.Verifier) (Proven, error) {
	p, err := checkEvidence(file, key)
	if err != nil {
		return Proven{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return p, nil
}

func checkEvidence(file []byte, key note.Verifier) (p Proven, err error) {
	var e Evidence
	if err := json.Unmarshal(file, &e); err != nil {
		return p, err
	}
	compact := bytes.Buffer{}
	if err := json.Compact(&compact, e.Event); err != nil {
		return p, err
	}
	e.Event = compact.Bytes()
	switch again, err := e.Encode(); {
	case err != nil:
		return p, err
	case e.Format != evidenceFormat || !bytes.Equal(again, file):
		return p, errors.New("the file is not in the form in which it was made")
	}
	if p.Origin, p.Head, err = OpenCheckpoint(key, e.Checkpoint); err != nil {
		return p, err
	}
	p.Sequence, p.Time, p.Stated = e.Sequence, e.Time, e.Statement != "" || e.DataHash != (Hash{})
	if p.Stated && len(e.Data) > 0 {
		return p, errors.New("it has both the entry and a statement about it")
	}
	if err := checkEntry(e.Path, p.Head, e.Sequence, e.leaf()); err != nil {
		return p, err
	}
	if p.Stated {
		p.Event, err = e.stated(key, p.Origin)
	} else {
		p.Event, err = e.contained(p.Origin)
	}
	return p, err
}

// contained is the event, if the entry has it.
func (e *Evidence) contained(o Origin) (x events.Event, err error) {
	// The entry may be of before the log had so many partitions, and then of the one from which
	// this one forked.
	of := o.Partitions
	for of%2 == 0 && !events.IsEntrySubject(e.Subject, o.Partition%of) {
		of /= 2
	}
	if !events.IsEntrySubject(e.Subject, o.Partition%of) {
		return x, fmt.Errorf("an entry with the subject %q in partition %d", e.Subject, o.Partition)
	}
	var batch events.Batch
	for err = events.DecodeEntry(e.Subject, e.Data, e.MsgID, of, &batch); err != nil; of /= 2 {
		if of%2 != 0 {
			return x, err
		}
		err = events.DecodeEntry(e.Subject, e.Data, e.MsgID, of/2, &batch)
	}
	if e.Index < 0 || e.Index >= batch.Len() {
		return x, fmt.Errorf("event %d of an entry of %d", e.Index, batch.Len())
	}
	batch.Event(e.Index, &x)
	if x.App != e.App || !bytes.Equal(events.AppendJSON(nil, &x), e.Event) {
		return x, errors.New("the entry has another event there")
	}
	return x, nil
}

// stated is the event, if the key's owner signed that the entry has it.
func (e *Evidence) stated(key note.Verifier, o Origin) (x events.Event, err error) {
	text, err := open(key, e.Statement)
	if err != nil {
		return x, err
	}
	if text != e.statement(o) {
		return x, errors.New("the statement is about something else")
	}
	err = new(events.Decoder).Decode(e.Event, events.FormatJSON, func(_ int, y *events.Event) error {
		x = *y
		return nil
	})
	x.App = e.App
	return x, err
}
