package dst

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing/synctest"
	"time"

	"github.com/minio/highwayhash"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/receiptd/receiptd/consumers/projector"
	"github.com/receiptd/receiptd/events"
	"github.com/receiptd/receiptd/events/eventlog"
	"github.com/receiptd/receiptd/events/eventlog/blockfile"
	"github.com/receiptd/receiptd/events/eventlog/witness"
)

const streamName = "RECEIPTS_0"

// logDamage is what happens to the log's files while the process is down.
type logDamage int

const (
	logIntact  logDamage = iota
	logTorn              // a write that was under way is cut off
	logCut               // acknowledged entries are missing at the end
	logFlipped           // a bit is another one
	logOlder             // the files come from long ago
	logOther             // another log is in its place
	logMissing           // nothing is there
	logDamages
)

var logDamageNames = [logDamages]string{
	"", "log: write cut off", "log: tail cut", "log: bit flipped", "log: came back older", "log: another one", "log: missing",
}

// damage is what happens to log, witness and state between two lives, and what the product says
// about it. What it refuses comes back as it was, or is repaired.
func (w *world) damage() {
	if w.random.IntN(3) == 0 {
		return
	}
	entries := w.broker.entriesOf(0)
	switch k := w.random.IntN(10); {
	case len(entries) == 0:
	case k < 8 && w.partitions() > 1: // it is laid down as one stream
	case k < 5 && !w.interval:
		w.damageLog(entries)
	case k < 8 && !w.interval:
		w.stateAhead(entries)
	case k == 8:
		w.damageState()
	}
}

// damageLog lays the log down as the files of the embedded server, with its witness, damages them
// and has them inspected.
func (w *world) damageLog(entries []entry) {
	kind := logDamage(w.random.IntN(int(logDamages)))
	if w.attested == 0 && kind > logTorn {
		return
	}
	root, err := os.MkdirTemp(scratch(), "receiptd-dst-")
	w.must(err)
	defer os.RemoveAll(root)
	dir, witnessDir := filepath.Join(root, "log"), filepath.Join(root, "witness")
	created := w.broker.streams[streamName].created
	w.layWitness(witnessDir, entries, created)

	keep := entries
	attested := int(w.attested)
	flip := -1
	switch kind {
	case logCut:
		keep = entries[:attested-1-w.random.IntN(min(attested, 5))]
	case logOlder:
		keep = entries[:w.random.IntN(attested)]
	case logOther:
		created = created.Add(time.Hour)
	case logFlipped:
		flip = w.random.IntN(attested)
	}
	if kind != logMissing {
		torn := 0
		if kind == logTorn {
			torn = 1 + w.random.IntN(60)
		}
		w.layLog(dir, keep, created, torn, flip)
	} else {
		w.must(os.MkdirAll(dir, 0o700))
	}
	if kind != logIntact {
		w.fired(logDamageNames[kind])
	}
	if w.Plant == "trust a short log" && (kind == logCut || kind == logOlder) {
		w.broker.replace(0, keep)
		w.mem = vfs.NewCrashableMem()
		w.durable, w.served = 0, 0
		return
	}
	i, err := eventlog.Inspect(context.Background(), dir, witnessDir, 0, nil)
	w.must(err)
	err = i.Err()
	w.tracef("damage %q, %d of %d attested: %d findings", logDamageNames[kind], attested, len(entries), len(i.Findings))
	if damaged := kind > logTorn; damaged != errors.Is(err, eventlog.ErrDamaged) {
		w.fail("%s: the inspection says %v", logDamageNames[kind], i.Findings)
	}
	if (kind == logCut || kind == logFlipped || kind == logOlder) && w.random.IntN(3) == 0 {
		w.repair(dir, witnessDir, entries)
	}
}

// layWitness writes the witness, as of the last time that it was written; now and then the write
// after that one was cut off.
func (w *world) layWitness(dir string, entries []entry, created time.Time) {
	f, err := witness.Open(dir)
	w.must(err)
	write := func(last uint64) {
		m := witness.Attestation{Stream: streamName, Created: created, Last: last}
		if last > 0 {
			m.At, m.Fingerprint = last, eventlog.Fingerprint(entries[last-1].Entry)
		}
		w.must(f.Write(witness.Attestations{streamName: m}))
	}
	write(w.attested)
	if w.random.IntN(3) > 0 || int(w.attested) == len(entries) {
		return
	}
	w.fired(kindWitness)
	write(w.attested + 1)
	name := filepath.Join(dir, "witness.0")
	text, err := os.ReadFile(name)
	w.must(err)
	w.must(os.WriteFile(name, text[:w.random.IntN(60)], 0o600))
}

// repair accepts the loss: what was lost is named, the rest stays what and where it was.
func (w *world) repair(dir, witnessDir string, entries []entry) {
	list, err := eventlog.Repair(context.Background(), dir, witnessDir, eventlog.RepairOptions{AcceptLoss: true})
	w.must(err)
	i, err := eventlog.Inspect(context.Background(), dir, witnessDir, 0, nil)
	w.must(err)
	if err := i.Err(); err != nil {
		w.fail("after the repair: %v", err)
	}
	lost := map[uint64]bool{}
	for _, r := range list {
		for _, l := range r.Lost {
			for n := l.First; n <= l.Last; n++ {
				lost[n] = true
			}
		}
	}
	left := w.readLog(dir)
	for n := range left {
		e := &left[n]
		isLost := lost[e.Sequence]
		if isLost && e.Subject != events.LostSubject(0) || !isLost && eventlog.Fingerprint(e.Entry) != eventlog.Fingerprint(entries[n].Entry) {
			w.fail("the repair changed entry %d", e.Sequence)
		}
		if isLost {
			e.Data = []byte("lost") // it says when, by a clock that does not repeat
		} else {
			e.id, e.header = entries[n].id, entries[n].header
		}
	}
	if uint64(len(left)) < w.attested {
		w.fail("the repaired log ends with entry %d, and had %d", len(left), w.attested)
	}
	for n, e := range entries {
		if n >= len(left) || lost[e.Sequence] {
			w.forgive(e)
		}
	}
	w.fired(kindRepair)
	w.tracef("repaired: %d of %d entries are lost", len(lost), len(left))
	w.broker.replace(0, left)
	w.mem = vfs.NewCrashableMem() // the state has what was lost, and is folded again
	w.served, w.durable, w.attested = 0, 0, uint64(len(left))
	w.resetModel()
}

// stateAhead has the log come back shorter at a server that nobody inspects, and right again after
// that.
func (w *world) stateAhead(entries []entry) {
	if w.flipped {
		return
	}
	var at uint64
	if err := w.peek(func(p *projector.Projector) {
		_, upto, err := p.Summary("o#none", "nobody", "")
		w.must(err)
		at = upto[0]
	}); err != nil {
		w.fail("the state does not open: %v", err)
	}
	keep := w.random.IntN(len(entries))
	w.broker.replace(0, entries[:keep])
	err := w.peek(func(*projector.Projector) {})
	w.broker.replace(0, entries)
	w.tracef("state at %d, log to %d: refused %t", at, keep, err != nil)
	if refused := errors.Is(err, projector.ErrAheadOfLog); refused != (at > uint64(keep)) {
		w.fail("the state stands at entry %d, the log came back with %d: %v", at, keep, err)
	}
	if err != nil {
		w.fired(kindAhead)
	}
	w.durable = max(w.durable, at)
}

// peek opens the state beside its log and closes it.
func (w *world) peek(f func(*projector.Projector)) error {
	w.mu.Lock()
	w.crashed, w.crashAt = false, 0
	w.mu.Unlock()
	w.broker.frozen.Store(false)
	w.disk = &disk{FS: w.mem, mem: w.mem, step: w.step, died: w.died, fired: w.fired}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	log, err := eventlog.Open(ctx, w.logConfig())
	w.must(err)
	w.log = log
	err = w.open(ctx)
	if err == nil {
		f(w.fold)
	}
	if stopped := w.stop(ctx); err == nil {
		w.must(stopped)
	}
	w.broker.die()
	synctest.Wait()
	return err
}

// damageState flips a bit in a file of the state.
func (w *world) damageState() {
	var files []string
	for _, name := range list(w.mem, "") {
		if base := filepath.Base(name); base != "LOCK" && len(readAll(w.mem, name)) > 0 {
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		return
	}
	name := files[w.random.IntN(len(files))]
	data := readAll(w.mem, name)
	at := w.random.IntN(len(data))
	data[at] ^= 1 << w.random.IntN(8)
	writeAll(w.mem, name, data)
	w.fired(kindFlipped)
	w.tracef("bit flipped in %s at %d of %d", name, at, len(data))
	w.flipped, w.durable = true, 0
}

// layLog writes the entries as nats-server does, in blocks of forty, with torn bytes of a further
// one at the end, and a bit flipped in one of them.
func (w *world) layLog(dir string, entries []entry, created time.Time, torn, flip int) {
	stream := filepath.Join(dir, "jetstream", "RECEIPTS", "streams", streamName)
	w.must(os.MkdirAll(filepath.Join(stream, "msgs"), 0o700))
	meta := fmt.Appendf(nil, `{"name":%q,"subjects":[%q],"Created":%q}`, streamName, events.PartitionSubjects(0), created.Format(time.RFC3339Nano))
	w.must(os.WriteFile(filepath.Join(stream, "meta.inf"), meta, 0o600))
	w.must(os.WriteFile(filepath.Join(stream, "meta.sum"), []byte(hex.EncodeToString(keyed(streamName, meta))), 0o600))
	index := 0
	for block := range slices.Chunk(entries, 40) {
		index++
		key := fmt.Sprintf("%s-%d", streamName, index)
		var data []byte
		for _, e := range block {
			r := record(key, e)
			if flip == int(e.Sequence)-1 {
				r[w.random.IntN(len(r))] ^= 1 << w.random.IntN(8)
			}
			data = append(data, r...)
		}
		if len(entries) == (index-1)*40+len(block) && torn > 0 {
			next := block[len(block)-1]
			next.Sequence++
			r := record(key, next)
			data = append(data, r[:min(torn, len(r)-1)]...)
		}
		w.must(os.WriteFile(filepath.Join(stream, "msgs", fmt.Sprintf("%d.blk", index)), data, 0o600))
	}
}

// keyed is the hash of nats-server's files.
func keyed(name string, parts ...[]byte) []byte {
	key := sha256.Sum256([]byte(name))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		panic(err)
	}
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return h.Sum(nil)
}

// record is an entry in a block.
func record(key string, e entry) []byte {
	const headerBit = 1 << 31
	content := slices.Concat(e.header, e.Data)
	length := 22 + len(e.Subject) + len(content) + 8
	header := 0
	if len(e.header) > 0 {
		length += 4
		header = headerBit
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(length|header))
	b = binary.LittleEndian.AppendUint64(b, e.Sequence)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.Subject)))
	b = append(b, e.Subject...)
	sum := keyed(key, b[4:20], []byte(e.Subject), content)
	if header != 0 {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(e.header)))
	}
	return append(append(b, content...), sum...)
}

// readLog reads the files back.
func (w *world) readLog(dir string) (entries []entry) {
	streams, err := blockfile.Streams(filepath.Join(dir, "jetstream"))
	w.must(err)
	_, err = streams[0].Scan(context.Background(), blockfile.Options{Contiguous: true, Visit: func(r blockfile.Record) error {
		entries = append(entries, entry{Entry: eventlog.Entry{
			Sequence: r.Sequence, Time: time.Unix(0, r.Time).UTC(), Subject: string(r.Subject), Data: slices.Clone(r.Data),
		}})
		return nil
	}})
	w.must(err)
	return entries
}

// scratch is where files are laid down: in memory, if the machine has that.
func scratch() string {
	const shared = "/dev/shm"
	if info, err := os.Stat(shared); err == nil && info.IsDir() {
		return shared
	}
	return ""
}

// must is for what cannot fail here.
func (w *world) must(err error) {
	if err != nil {
		w.fail("the simulation: %v", err)
	}
}
