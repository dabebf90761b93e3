package events

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// The wire format is described in schema/events.proto; this file writes it and decode.go reads it.

const (
	entryVersion = 1

	// maxRawBytes bounds the payload of an entry before compression.
	maxRawBytes = 8 * MaxBatchBytes
)

// Values of Compression in the schema.
const (
	compressionNone = iota
	compressionZstd
)

// Fields of the Entry message.
const (
	entryFieldVersion = iota + 1
	entryFieldCompression
	entryFieldRawSize
	entryFieldPayload
)

// Fields of the Batch message.
const (
	batchRunKinds = iota + 1
	batchRunFlags
	batchRunLengths
	batchMessageRefs
	batchMessageRuns
	batchConversationRefs
	batchUserRefs
	batchSides
	batchApps
	batchConversations
	batchGroups
	batchMessages
	batchUsers
	batchTimes
	batchContents
	batchContentGaps
	batchContentRefs
	batchAttributes
	batchEventIDGaps
	batchEventIDs
	batchUptoGaps
	batchUptos
	batchLabelGaps
	batchLabels

	batchFields
)

// batchNames are the fields by number; repeated strings and messages have no name here.
var batchNames = []string{"", "run_kinds", "run_flags", "run_lengths", "message_refs", "message_runs",
	"conversation_refs", "user_refs", "sides", "", "conversations", "groups", "messages", "users",
	"times", "", "content_gaps", "content_refs", "", "event_id_gaps", "event_ids", "upto_gaps", "uptos", "label_gaps", "labels"}

// encoder writes batches. It reuses its memory from one to the next.
type encoder struct {
	runKinds, runFlags, runLengths column
	messageRefs, messageRuns       column
	conversationRefs, userRefs     column
	conversations                  column
	times, contentGaps             column
	contentRefs                    column
	sides                          bitColumn

	groups, messages, users idWriter
	eventIDs, uptos, labels textColumn

	// How much of each table was used so far.
	nextConversation, nextMessage, nextUser uint32

	raw, scratch []byte
}

// bitColumn is a column of single bits.
type bitColumn struct {
	bytes []byte
	n     int
}

func (b *bitColumn) add(bit uint32) {
	if b.n%8 == 0 {
		b.bytes = append(b.bytes, 0)
	}
	b.bytes[b.n/8] |= byte(bit << (b.n % 8))
	b.n++
}

func (w *encoder) reset() {
	for _, c := range []*column{&w.runKinds, &w.runFlags, &w.runLengths, &w.messageRefs, &w.messageRuns,
		&w.conversationRefs, &w.userRefs, &w.conversations, &w.times, &w.contentGaps, &w.contentRefs} {
		*c = (*c)[:0]
	}
	w.sides = bitColumn{bytes: w.sides.bytes[:0]}
	w.groups.reset()
	w.messages.reset()
	w.users.reset()
	w.eventIDs.reset()
	w.uptos.reset()
	w.labels.reset()
	w.nextConversation, w.nextMessage, w.nextUser = 0, 0, 0
}

// entry appends the encoded log entry of b to dst.
func (w *encoder) entry(dst []byte, b *Batch) []byte {
	text := w.batch(b)
	payload, compression := w.raw, uint64(compressionNone)
	if worthCompressing(text, len(w.raw)) {
		w.scratch = zstdEncoder().EncodeAll(w.raw, w.scratch[:0])
		// Less than an eighth saved is not worth the reader's time.
		if len(w.scratch) < len(w.raw)-len(w.raw)/8 {
			payload, compression = w.scratch, compressionZstd
		}
	}
	dst = appendUint(dst, entryFieldVersion, entryVersion)
	if compression != compressionNone {
		dst = appendUint(dst, entryFieldCompression, compression)
		dst = appendUint(dst, entryFieldRawSize, uint64(len(w.raw)))
	}
	return appendBytes(dst, entryFieldPayload, payload)
}

// worthCompressing reports whether compression may pay off. References and numbers are as dense as
// they get; only text shrinks, and only if there is enough of it.
func worthCompressing(text, raw int) bool { return text >= 512 && text >= raw/4 }

// batch writes the payload into w.raw and returns how many bytes of it are text.
func (w *encoder) batch(b *Batch) (text int) {
	w.reset()
	w.runs(b)
	w.participants(b)
	w.tables(b)
	w.optional(b)

	raw := w.raw[:0]
	raw = appendColumn(raw, batchRunKinds, w.runKinds)
	raw = appendColumn(raw, batchRunFlags, w.runFlags)
	raw = appendColumn(raw, batchRunLengths, w.runLengths)
	raw = appendColumn(raw, batchMessageRefs, w.messageRefs)
	raw = appendColumn(raw, batchMessageRuns, w.messageRuns)
	raw = appendColumn(raw, batchConversationRefs, w.conversationRefs)
	raw = appendColumn(raw, batchUserRefs, w.userRefs)
	raw = appendColumn(raw, batchSides, w.sides.bytes)
	for _, app := range b.scratch.apps {
		raw = appendString(raw, batchApps, app)
	}
	raw = appendColumn(raw, batchConversations, w.conversations)
	raw = w.groups.appendTo(raw, batchGroups, &w.scratch)
	raw = w.messages.appendTo(raw, batchMessages, &w.scratch)
	raw = w.users.appendTo(raw, batchUsers, &w.scratch)
	raw = appendColumn(raw, batchTimes, w.times)
	text = len(w.groups.text) + len(w.messages.text) + len(w.users.text)
	for _, content := range b.Contents {
		raw = appendString(raw, batchContents, content)
		text += len(content)
	}
	raw = appendColumn(raw, batchContentGaps, w.contentGaps)
	raw = appendColumn(raw, batchContentRefs, w.contentRefs)
	attributes := len(raw)
	for i := range b.Attributes {
		w.scratch = appendAttributes(w.scratch[:0], &b.Attributes[i])
		raw = appendBytes(raw, batchAttributes, w.scratch)
	}
	text += len(raw) - attributes
	raw = w.eventIDs.appendTo(raw, batchEventIDGaps, batchEventIDs, &w.scratch)
	raw = w.uptos.appendTo(raw, batchUptoGaps, batchUptos, &w.scratch)
	raw = w.labels.appendTo(raw, batchLabelGaps, batchLabels, &w.scratch)
	w.raw = raw
	return text + len(w.eventIDs.texts.text) + len(w.uptos.texts.text) + len(w.labels.texts.text)
}

// runs writes kinds, flags, messages and conversations of the events.
func (w *encoder) runs(b *Batch) {
	var flags Flags
	for _, f := range b.Flags {
		flags |= f
	}
	messages := messageRuns{long: b.messagesRepeat()}
	for i, n := 0, b.Len(); i < n; {
		end := i + 1
		for end < n && b.Kinds[end] == b.Kinds[i] && b.Flags[end] == b.Flags[i] {
			end++
		}
		w.runKinds.add(uint64(b.Kinds[i]))
		w.runLengths.add(uint64(end - i))
		if flags != 0 {
			w.runFlags.add(uint64(b.Flags[i]))
		}
		if layouts[b.Kinds[i]].message {
			w.messageRefsOf(b, i, end, &messages)
		} else {
			for _, conv := range b.Conv[i:end] {
				w.conversation(b, conv)
			}
		}
		i = end
	}
	messages.end(w)
}

// messageRuns joins consecutive events of the same message.
type messageRuns struct {
	long    bool // use runs
	message uint32
	length  uint64
}

func (r *messageRuns) end(w *encoder) {
	if r.long && r.length > 0 {
		w.messageRuns.add(r.length)
	}
	r.length = 0
}

// messagesRepeat reports whether events of the same message follow one another so often that runs
// take less than a reference for each event.
func (b *Batch) messagesRepeat() bool {
	events, runs, last := 0, 0, uint32(None)
	for _, message := range b.Msg {
		if message == None {
			continue
		}
		events++
		if message != last {
			runs++
			last = message
		}
	}
	return 2*runs < events
}

func (w *encoder) messageRefsOf(b *Batch, from, to int, runs *messageRuns) {
	for _, message := range b.Msg[from:to] {
		if runs.long && runs.length > 0 && message == runs.message {
			runs.length++
			continue
		}
		runs.end(w)
		runs.message, runs.length = message, 1
		if message != w.nextMessage {
			w.messageRefs.add(uint64(w.nextMessage - message))
			continue
		}
		w.messageRefs.add(0)
		w.nextMessage++
		w.conversation(b, b.Messages[message].Conversation)
	}
}

// conversation writes a reference to a conversation.
func (w *encoder) conversation(b *Batch, conv uint32) {
	if conv != w.nextConversation {
		w.conversationRefs.add(uint64(w.nextConversation - conv))
		return
	}
	w.conversationRefs.add(0)
	w.nextConversation++
}

// participants writes references to users: to the two of each single chat, where it is used first,
// and to the user who acted in each event.
func (w *encoder) participants(b *Batch) {
	known := uint32(0) // conversations
	for i, conv := range b.Conv {
		l := &b.scratch.convKeys[conv]
		if conv == known {
			known++
			if l.typ == convSingle {
				w.user(l.a)
				w.user(l.b)
			}
		}
		switch user := b.User[i]; {
		case user == None:
		case l.typ != convSingle:
			w.user(user)
		case user == l.b:
			w.sides.add(1)
		default:
			w.sides.add(0)
		}
	}
}

// user writes a reference to a user.
func (w *encoder) user(user uint32) {
	if user != w.nextUser {
		w.userRefs.add(uint64(w.nextUser - user))
		return
	}
	w.userRefs.add(0)
	w.nextUser++
}

func (w *encoder) tables(b *Batch) {
	for i := range b.Conversations {
		l := &b.scratch.convKeys[i]
		w.conversations.add(uint64(l.app)<<2 | uint64(l.typ))
		if l.typ == convGroup {
			w.groups.add(b.Conversations[i].Group)
		}
	}
	for i := range b.Messages {
		w.messages.add(b.Messages[i].ID)
	}
	for _, user := range b.Users {
		w.users.add(user)
	}
}

// optional writes the columns that only some batches have.
func (w *encoder) optional(b *Batch) {
	last := int64(0)
	for _, t := range b.Times {
		if t == 0 {
			w.times.add(0)
			continue
		}
		w.times.add(1 + protowire.EncodeZigZag(t-last))
		last = t
	}
	next, previous := uint32(0), -1
	for i, content := range b.Content {
		if content == None {
			continue
		}
		w.contentGaps.add(uint64(i - previous - 1))
		previous = i
		if content == next {
			w.contentRefs.add(0)
			next++
		} else {
			w.contentRefs.add(uint64(next - content))
		}
	}
	w.eventIDs.add(b.EventIDs)
	w.uptos.add(b.Uptos)
	w.labels.add(b.Labels)
}

// textColumn writes texts that only some events have.
type textColumn struct {
	gaps  column
	texts idWriter
}

func (c *textColumn) reset() {
	c.gaps = c.gaps[:0]
	c.texts.reset()
}

func (c *textColumn) add(texts []string) {
	previous := -1
	for i, text := range texts {
		if text == "" {
			continue
		}
		c.gaps.add(uint64(i - previous - 1))
		c.texts.add(text)
		previous = i
	}
}

func (c *textColumn) appendTo(dst []byte, gaps, texts protowire.Number, scratch *[]byte) []byte {
	return c.texts.appendTo(appendColumn(dst, gaps, c.gaps), texts, scratch)
}
