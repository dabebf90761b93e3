package dst

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/receiptd/receiptd/events/eventlog"
)

// broker is a NATS server with JetStream, as far as receiptd uses one: connections, publishing with
// ids and expected sequences, stream info, single entries, and pull consumers. What it stored is on
// its disk at once. It outlives the process: its streams are what the next life finds.
type broker struct {
	// store is called before an entry is stored; see [world.durable].
	store func() moment
	died  func() // is called after an entry was stored at which the process dies
	fired func(kind string)
	plant string

	frozen atomic.Bool // the process is dead: nothing is taken, nothing is answered

	mu      sync.Mutex
	links   []*link // in the order in which they came
	streams map[string]*stream
	down    bool     // refuses connections
	clock   int64    // Unix milliseconds, what entries are stamped with
	fates   []fate   // of the next tries to store
	ways    []way    // of the next deliveries
	held    []func() // what comes late
	tries   int
	tool    *tool // what changes the log while the process is down; nil = nothing does
}

// stream is a JetStream stream. Sequences begin after its base and have no gaps.
type stream struct {
	name      string
	partition int
	config    json.RawMessage
	created   time.Time
	base      uint64 // the sequence before the first entry
	entries   []entry
	ids       map[string]remembered
	consumers map[string]*consumer
	made      int // consumers so far
}

// entry is one that the broker stored.
type entry struct {
	eventlog.Entry
	header []byte
	id     string
}

// remembered is an id in the duplicate window.
type remembered struct {
	sequence uint64
	at       time.Time
}

// duplicateWindow is as package eventlog sets it for the streams.
const duplicateWindow = time.Minute

// fate is what becomes of one try to store an entry.
type fate int

const (
	fateOK          fate = iota
	fateLostRequest      // it never arrives
	fateLostAnswer       // stored, and nobody says so
	fateHeldAnswer       // stored, and the answer comes when the driver lets it
	fateLateRequest      // it arrives when the driver lets it, perhaps after a retry
	fateTwiceAnswer      // stored, and answered twice
	fateBreakBefore      // the connections break before it arrives
	fateBreakAfter       // the connections break before its answer
	fateFull             // refused: no room
	fateBusy             // refused for now
	fateInProcess        // refused: an earlier try is under way
	fateGarbage          // stored, and answered with what is no answer
	fateCount
)

var fateNames = [fateCount]string{
	"", "log: request lost", "log: answer lost", "log: answer delayed", "log: request delayed", "log: answer doubled",
	"log: connection broken before storing", "log: connection broken after storing", "log: full", "log: error for now",
	"log: try in process", "log: answer garbled",
}

// way is how one entry gets to a consumer.
type way int

const (
	wayOK way = iota
	wayDropped
	wayTwice
	wayLost   // the consumer is gone, and says so
	waySilent // the consumer is gone, and nobody says so
	wayCount
)

var wayNames = [wayCount]string{"", "reader: entry dropped", "reader: entry doubled", "reader: consumer deleted", "reader: consumer silent"}

var errDown = errors.New("connection refused")

func (b *broker) connect(l *link) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || b.frozen.Load() {
		return errDown
	}
	b.links = append(b.links, l)
	return nil
}

func (b *broker) disconnect(l *link) {
	l.close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.links = slices.DeleteFunc(b.links, func(x *link) bool { return x == l })
}

func (b *broker) subscribe(l *link, subject, sid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.subs[subject] = sid
}

func (b *broker) unsubscribe(l *link, sid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for subject, id := range l.subs {
		if id == sid {
			delete(l.subs, subject)
		}
	}
}

// published takes what a client sent: a request to JetStream, or an entry.
func (b *broker) published(l *link, m message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen.Load() {
		return
	}
	if request, ok := strings.CutPrefix(m.subject, "$JS.API."); ok {
		b.request(l, request, m)
		return
	}
	s := b.streamOf(m.subject)
	if s == nil {
		return
	}
	b.tries++
	if x := b.tool; x != nil && x.stale.tries > 0 {
		x.stale.tries--
		x.stale.publish(b)
	}
	f := b.tool.troubled(toolFates)
	if len(b.fates) > 0 {
		f, b.fates = b.fates[0], b.fates[1:]
	}
	if f != fateOK {
		b.fired(fateNames[f])
	}
	answer := func() {
		if data := b.append(s, m); data != nil {
			l.send(m.reply, m.reply, "", nil, data)
		}
	}
	refuse := func(code, errCode int, text string) {
		l.send(m.reply, m.reply, "", nil, apiError("", code, errCode, text))
	}
	switch f {
	case fateLostRequest:
	case fateLostAnswer:
		b.append(s, m)
	case fateHeldAnswer:
		if data := b.append(s, m); data != nil {
			b.held = append(b.held, func() { l.send(m.reply, m.reply, "", nil, data) })
		}
	case fateLateRequest:
		came := time.Now()
		b.held = append(b.held, func() {
			// No network keeps what a client sent for as long as the broker remembers ids.
			if time.Since(came) < duplicateWindow/2 {
				answer()
			}
		})
	case fateTwiceAnswer:
		answer()
		answer()
	case fateBreakBefore:
		b.breakLinks()
	case fateBreakAfter:
		b.append(s, m)
		b.breakLinks()
	case fateFull:
		if b.plant == "store a refused entry" {
			b.append(s, m)
		}
		refuse(500, 10047, "insufficient storage resources available")
	case fateBusy:
		refuse(503, 10008, "JetStream system temporarily unavailable")
	case fateInProcess:
		refuse(409, 10158, "message with the id is in process")
	case fateGarbage:
		b.append(s, m)
		l.send(m.reply, m.reply, "", nil, []byte("{"))
	default:
		answer()
	}
}

// append stores an entry as JetStream does and returns the answer; nil if the process died.
func (b *broker) append(s *stream, m message) []byte {
	id := headerOf(m.header, jetstream.MsgIDHeader)
	if seen, ok := s.ids[id]; ok && id != "" && b.plant != "forget ids at once" && time.Since(seen.at) < duplicateWindow {
		return ack(s.name, seen.sequence, true)
	}
	if expect := headerOf(m.header, jetstream.ExpectedLastSeqHeader); expect != "" && expect != strconv.FormatUint(s.last(), 10) {
		return apiError("", 400, 10071, fmt.Sprintf("wrong last sequence: %d", s.last()))
	}
	if expect := headerOf(m.header, jetstream.ExpectedLastSubjSeqHeader); expect != "" && expect != strconv.FormatUint(s.lastOf(m.subject), 10) {
		return apiError("", 400, 10071, fmt.Sprintf("wrong last sequence: %d", s.lastOf(m.subject)))
	}
	now := b.step()
	if now == dead || now == diesBefore {
		return nil
	}
	e := entry{header: m.header, id: id, Entry: eventlog.Entry{
		Sequence: s.last() + 1, Time: time.UnixMilli(b.clock).Add(time.Duration(s.last()%1000) * time.Microsecond).UTC(), Subject: m.subject, Data: m.data,
	}}
	s.entries = append(s.entries, e)
	if id != "" {
		s.ids[id] = remembered{e.Sequence, time.Now()}
	}
	if now == diesAfter {
		b.dies()
		return nil
	}
	for _, c := range s.sorted() {
		b.deliver(s, c)
	}
	return ack(s.name, e.Sequence, false)
}

// step counts a change of a stream, and says what becomes of its author there. b.mu is held.
func (b *broker) step() moment {
	if b.tool == nil {
		return b.store()
	}
	now := b.tool.step()
	if now == diesBefore {
		b.frozen.Store(true)
	}
	return now
}

// dies is the end of the author of a change, after it. b.mu is held.
func (b *broker) dies() {
	if b.tool == nil {
		b.died()
		return
	}
	b.tool.dead = true
	b.frozen.Store(true)
}

func ack(stream string, sequence uint64, duplicate bool) []byte {
	return fmt.Appendf(nil, `{"stream":%q,"seq":%d,"duplicate":%t}`, stream, sequence, duplicate)
}

// inject stores an entry of an outside producer.
func (b *broker) inject(subject string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streamOf(subject); s != nil && !b.frozen.Load() {
		b.append(s, message{subject: subject, data: data})
	}
}

// lastOf is the last entry on a subject; 0 if there is none.
func (s *stream) lastOf(subject string) uint64 {
	for _, e := range slices.Backward(s.entries) {
		if e.Subject == subject {
			return e.Sequence
		}
	}
	return 0
}

func (s *stream) last() uint64 { return s.base + uint64(len(s.entries)) }

// streamOf is the stream that stores a subject, receipts.v1.<partition>.….
func (b *broker) streamOf(subject string) *stream {
	words := strings.Split(subject, ".")
	if len(words) < 4 {
		return nil
	}
	return b.streams["RECEIPTS_"+words[2]]
}

// apart is the time between the ends of two connections that break together. They come back as far
// apart, so that which one is first is not left to chance.
const apart = 7 * time.Millisecond

// breakLinks breaks every connection: consumers, which are in memory, go with them.
func (b *broker) breakLinks() {
	for _, l := range b.links {
		if l.reads && !b.frozen.Load() {
			time.AfterFunc(apart, l.close)
			continue
		}
		l.close()
	}
	b.links = nil
	for _, s := range b.streams {
		for _, c := range s.sorted() {
			s.remove(c)
		}
	}
}

// die ends the broker with the process that it is in: what is stored stays, ids are found in it
// again at the next start.
func (b *broker) die() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen.Store(true)
	b.breakLinks()
	b.fates, b.ways, b.held, b.down = nil, nil, nil, false
}

// restart breaks the connections and has the broker stay away until [broker.up].
func (b *broker) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breakLinks()
	b.down = true
}

func (b *broker) up() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = false
}

// release lets what is late arrive.
func (b *broker) release() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.held)
	for _, f := range b.held {
		if !b.frozen.Load() {
			f()
		}
	}
	b.held = nil
	return n
}

// arm says what becomes of the next tries.
func (b *broker) arm(list ...fate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fates = append(b.fates, list...)
}

// steer says how the next entries get to a consumer.
func (b *broker) steer(list ...way) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ways = append(b.ways, list...)
}

// calm has everything work from now on, and what is late arrive.
func (b *broker) calm() {
	b.up()
	b.mu.Lock()
	b.fates, b.ways = nil, nil
	b.mu.Unlock()
	b.release()
}

// entriesOf returns what a partition holds.
func (b *broker) entriesOf(partition int) []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams["RECEIPTS_"+strconv.Itoa(partition)]; s != nil {
		return slices.Clone(s.entries)
	}
	return nil
}

// replace puts other entries in the place of those of a partition, and forgets the ids.
func (b *broker) replace(partition int, entries []entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams["RECEIPTS_"+strconv.Itoa(partition)]
	s.entries = slices.Clone(entries)
	s.ids = map[string]remembered{}
	for _, e := range entries {
		if e.id != "" {
			s.ids[e.id] = remembered{e.Sequence, time.Now()}
		}
	}
}

// setClock sets what the next entries are stamped with.
func (b *broker) setClock(ms int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = ms
}
