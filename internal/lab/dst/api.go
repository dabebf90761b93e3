package dst

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// consumer is a pull consumer. All requests of its reader are one: how many entries it may be sent,
// and where to.
type consumer struct {
	name        string
	number      int // among those of its stream
	link        *link
	next        uint64 // sequence of the next entry
	delivered   uint64
	headersOnly bool
	reply       string
	left        int
	beat        *time.Timer
}

// heartbeat is what readers ask for.
const heartbeat = time.Second

func apiError(kind string, code, errCode int, text string) []byte {
	return fmt.Appendf(nil, `{"type":%q,"error":{"code":%d,"err_code":%d,"description":%q}}`, kind, code, errCode, text)
}

// request answers a request to JetStream. b.mu is held.
func (b *broker) request(l *link, what string, m message) {
	words := strings.Split(what, ".")
	answer := func(data []byte) { l.send(m.reply, m.reply, "", nil, data) }
	call := words[0]
	if len(words) > 1 {
		call += "." + words[1]
	}
	if call == "INFO" {
		answer([]byte(`{"type":"io.nats.jetstream.api.v1.account_info_response"}`))
		return
	}
	name := words[len(words)-1]
	if words[0] == "CONSUMER" {
		name = words[len(words)-2]
	}
	s := b.streams[name]
	if call == "STREAM.CREATE" {
		b.configure(l, m, func() []byte {
			if s != nil && !bytes.Equal(s.config, m.data) {
				return apiError("", 400, 10058, "stream name already in use with a different configuration")
			}
			if s == nil {
				s = b.create(name, m.data)
			}
			return s.info()
		})
		return
	}
	if s == nil {
		answer(apiError("", 404, 10059, "stream not found"))
		return
	}
	switch call {
	case "STREAM.INFO":
		answer(s.info())
	case "STREAM.UPDATE":
		b.configure(l, m, func() []byte {
			s.config = slices.Clone(m.data)
			return s.info()
		})
	case "STREAM.MSG":
		answer(s.message(m.data))
	case "DIRECT.GET":
		b.get(l, s, m)
	case "CONSUMER.CREATE":
		answer(b.consume(l, s, words[len(words)-1], m.data))
	case "CONSUMER.DELETE":
		if c := s.consumers[words[len(words)-1]]; c != nil {
			s.remove(c)
		}
		answer([]byte(`{"success":true}`))
	case "CONSUMER.MSG":
		b.pull(l, s, words[len(words)-1], m)
	}
}

// configure makes or changes a stream, which is a step of a tool, and answers.
func (b *broker) configure(l *link, m message, change func() []byte) {
	f := b.tool.troubled(toolFates[:2])
	if f == fateLostRequest {
		return
	}
	now := alive
	if b.tool != nil {
		now = b.step()
	}
	if now == dead || now == diesBefore {
		return
	}
	data := change()
	if now == diesAfter {
		b.dies()
		return
	}
	if f != fateLostAnswer {
		l.send(m.reply, m.reply, "", nil, data)
	}
}

func (b *broker) create(name string, config []byte) *stream {
	partition, _ := strconv.Atoi(strings.TrimPrefix(name, "RECEIPTS_"))
	s := &stream{
		name: name, partition: partition, config: slices.Clone(config), created: time.UnixMilli(b.clock).UTC(),
		ids: map[string]remembered{}, consumers: map[string]*consumer{},
	}
	var c struct {
		First uint64 `json:"first_seq"`
	}
	if json.Unmarshal(config, &c) == nil && c.First > 0 {
		s.base = c.First - 1
	}
	b.streams[name] = s
	return s
}

func (s *stream) info() []byte {
	first := s.base + 1
	if len(s.entries) == 0 {
		first = 0
	}
	return fmt.Appendf(nil, `{"type":"io.nats.jetstream.api.v1.stream_info_response","config":%s,"created":%q,`+
		`"state":{"messages":%d,"first_seq":%d,"last_seq":%d,"consumer_count":%d}}`,
		s.config, s.created.Format(time.RFC3339Nano), len(s.entries), first, s.last(), len(s.consumers))
}

// message is what the stream's leader says of a single entry that it is asked for.
func (s *stream) message(request []byte) []byte {
	var want struct {
		Sequence uint64 `json:"seq"`
	}
	if err := json.Unmarshal(request, &want); err != nil || want.Sequence <= s.base || want.Sequence > s.last() {
		return apiError("", 404, 10037, "no message found")
	}
	e := &s.entries[want.Sequence-s.base-1]
	type stored struct {
		Subject  string    `json:"subject"`
		Sequence uint64    `json:"seq"`
		Header   []byte    `json:"hdrs,omitempty"`
		Data     []byte    `json:"data"`
		Time     time.Time `json:"time"`
	}
	text, err := json.Marshal(map[string]stored{"message": {e.Subject, e.Sequence, e.header, e.Data, e.Time}})
	if err != nil {
		panic(err) // there is nothing in it that cannot be told
	}
	return text
}

// get answers with a single entry.
func (b *broker) get(l *link, s *stream, m message) {
	var want struct {
		Sequence uint64 `json:"seq"`
	}
	if err := json.Unmarshal(m.data, &want); err != nil || want.Sequence <= s.base || want.Sequence > s.last() {
		l.send(m.reply, m.reply, "", []byte("NATS/1.0 404 Message Not Found\r\n\r\n"), nil)
		return
	}
	e := &s.entries[want.Sequence-s.base-1]
	header := fmt.Appendf(nil, "NATS/1.0\r\nNats-Stream: %s\r\nNats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: %s\r\n\r\n",
		s.name, e.Subject, e.Sequence, e.Time.Format(time.RFC3339Nano))
	l.send(m.reply, m.reply, "", header, e.Data)
}

// consume makes a consumer.
func (b *broker) consume(l *link, s *stream, name string, data []byte) []byte {
	var r struct {
		Config json.RawMessage `json:"config"`
	}
	var config struct {
		Start       uint64 `json:"opt_start_seq"`
		HeadersOnly bool   `json:"headers_only"`
	}
	if json.Unmarshal(data, &r) != nil || json.Unmarshal(r.Config, &config) != nil {
		return apiError("", 400, 10025, "invalid JSON")
	}
	s.made++
	c := &consumer{name: name, number: s.made, link: l, next: config.Start, headersOnly: config.HeadersOnly}
	s.consumers[name] = c
	c.beat = time.AfterFunc(heartbeat, func() { b.heartbeat(s, c) })
	return fmt.Appendf(nil, `{"stream_name":%q,"name":%q,"created":"2024-01-01T00:00:00Z","config":%s}`, s.name, name, r.Config)
}

func (b *broker) heartbeat(s *stream, c *consumer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.consumers[c.name] != c || b.frozen.Load() {
		return
	}
	if c.reply != "" {
		c.link.send(c.reply, c.reply, "", []byte("NATS/1.0 100 Idle Heartbeat\r\n\r\n"), nil)
	}
	c.beat.Reset(heartbeat)
}

// pull asks for more entries.
func (b *broker) pull(l *link, s *stream, name string, m message) {
	var r struct {
		Batch int `json:"batch"`
	}
	c := s.consumers[name]
	if c == nil || json.Unmarshal(m.data, &r) != nil {
		l.send(m.reply, m.reply, "", []byte("NATS/1.0 409 Consumer Deleted\r\n\r\n"), nil)
		return
	}
	c.link, c.reply, c.left = l, m.reply, c.left+r.Batch
	b.deliver(s, c)
}

// deliver sends a consumer what it may be sent.
func (b *broker) deliver(s *stream, c *consumer) {
	for c.left > 0 && c.reply != "" && c.next > s.base && c.next <= s.last() {
		w := wayOK
		if len(b.ways) > 0 && c.number == s.made { // older ones are of readers that left them
			w, b.ways = b.ways[0], b.ways[1:]
			b.note(w)
		}
		e := &s.entries[c.next-s.base-1]
		c.next++
		c.delivered++
		c.left--
		switch w {
		case wayDropped:
			continue
		case wayLost:
			s.remove(c)
			c.link.send(c.reply, c.reply, "", []byte("NATS/1.0 409 Consumer Deleted\r\n\r\n"), nil)
			return
		case waySilent:
			s.remove(c)
			return
		case wayTwice:
			c.send(s, e)
		}
		c.send(s, e)
	}
}

func (b *broker) note(w way) {
	if w != wayOK {
		b.fired(wayNames[w])
	}
}

func (c *consumer) send(s *stream, e *entry) {
	reply := fmt.Sprintf("$JS.ACK.%s.%s.1.%d.%d.%d.%d", s.name, c.name, e.Sequence, c.delivered, e.Time.UnixNano(), s.last()-e.Sequence)
	data := e.Data
	if c.headersOnly {
		data = nil
	}
	c.link.send(c.reply, e.Subject, reply, e.header, data)
}

func (s *stream) remove(c *consumer) {
	c.beat.Stop()
	delete(s.consumers, c.name)
}

// sorted lists the consumers in the order in which they were made.
func (s *stream) sorted() []*consumer {
	list := make([]*consumer, 0, len(s.consumers))
	for _, c := range s.consumers {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *consumer) int { return a.number - b.number })
	return list
}

// renew deletes every consumer, so that readers make new ones: what was dropped at the end is
// noticed by that.
func (b *broker) renew() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.streams {
		for _, c := range s.sorted() {
			s.remove(c)
			if c.reply != "" {
				c.link.send(c.reply, c.reply, "", []byte("NATS/1.0 409 Consumer Deleted\r\n\r\n"), nil)
			}
		}
	}
}
